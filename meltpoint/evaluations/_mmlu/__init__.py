"""MMLU by generation, with the prompts and the reading of answers of OpenCompass."""
