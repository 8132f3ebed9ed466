"""Scoring what a user points at: images found, decoded once for all rewards, scored in parts that a kill cannot lose."""
