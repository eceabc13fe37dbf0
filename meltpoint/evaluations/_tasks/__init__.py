"""Tasks of lm-eval, with its documents and prompts, measured on any engine."""
