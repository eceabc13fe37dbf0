"""Modules imported when they are first used.

Registries read the files of methods, evaluations and figures where Snakemake runs. Neither torch nor
matplotlib need be installed there.
"""

import importlib


class LazyModule:
    """Stands in for a module and imports it on the first access to one of its attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str):
        return getattr(importlib.import_module(self._name), attribute)


torch = LazyModule("torch")
numpy = LazyModule("numpy")
pandas = LazyModule("pandas")
matplotlib = LazyModule("matplotlib")
seaborn = LazyModule("seaborn")
