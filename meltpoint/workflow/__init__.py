"""What the Snakefile and the scripts call."""
