"""Texts, tokens, calibration windows, and published numbers."""
