"""Checkpoints on disk: their files, their description, their formats."""
