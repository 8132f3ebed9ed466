"""Training: the loop, reference strategies, checkpoints and what is logged. ``mmalign.training.run.train`` runs a configuration."""
