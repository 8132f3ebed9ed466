"""The embedded world: captioned pictures of one colored shape, rendered, read back from pixels, and drawn by small real models."""
