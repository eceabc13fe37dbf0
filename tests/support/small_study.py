"""The least of a study: a model, a text, a calibration and a perplexity, by the names m, t and e."""

SMALL = {
    "study": "s",
    "models": {"m": {"train": {}}},
    "corpora": {"t": {"builtin": "python-docs", "split": "test"}},
    "calibrations": {"default": {"corpus": "t"}},
    "evaluations": {"e": {"perplexity": "t", "window": 8}},
}
