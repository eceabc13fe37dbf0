"""MMLU by generation, as OpenCompass has it."""
