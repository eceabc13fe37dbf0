"""Modules imported when they are first used.

The registry reads the methods' files where Snakemake runs, and there torch need not be installed.
"""

import importlib


class LazyModule:
    """Stands in for a module and imports it on the first access to one of its attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str):
        return getattr(importlib.import_module(self._name), attribute)


torch = LazyModule("torch")
