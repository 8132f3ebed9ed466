"""Preference alignment for image generators and vision-language models."""

__version__ = "0.1.0"
