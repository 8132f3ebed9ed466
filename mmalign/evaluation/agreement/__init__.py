"""How often a scorer agrees with people: accuracy over pairs of images under the published rules for ties, and calibration."""
