"""Re-Align's pictures to compare with: the nearest ones by a model's own vision features (Xing et al. 2025, arXiv:2502.13146)."""
