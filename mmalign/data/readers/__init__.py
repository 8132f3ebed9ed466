"""Readers: one file for each format of preference data, named as users call it."""
