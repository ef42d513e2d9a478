"""Greenlight keeps a fine-tuned small language model in production."""

__version__ = "0.1.0"
