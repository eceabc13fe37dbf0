"""Models in memory: built empty, filled from files, walked block by block."""
