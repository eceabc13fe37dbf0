"""The study of parameter search."""
