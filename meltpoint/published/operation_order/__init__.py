"""The study of the order of operations."""
