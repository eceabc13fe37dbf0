"""Tasks of lm-eval: its documents and prompts, on any engine."""
