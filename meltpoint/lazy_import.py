"""Modules imported when they are first used.

The registries read the files of methods and evaluations where Snakemake runs, and there neither torch
nor numpy need be installed.
"""

import importlib


class LazyModule:
    """Stands in for a module and imports it on the first access to one of its attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str):
        return getattr(importlib.import_module(self._name), attribute)


numpy = LazyModule("numpy")
torch = LazyModule("torch")
