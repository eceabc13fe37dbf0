"""Meltpoint finds where a language model breaks under compression."""

__version__ = "0.1.0"
