"""Functions and classes that the Snakefile and the scripts call."""
