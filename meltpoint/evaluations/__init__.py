"""Measurements of a checkpoint: each makes the value of a cell."""
