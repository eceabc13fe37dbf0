"""Figures by kind: each kind is a function of a tidy frame, its fitted transitions and its spec."""

import importlib

import pandas as pd
from matplotlib.figure import Figure

from meltpoint.errors import MeltpointError
from meltpoint.figures.style import save

__all__ = ["KINDS", "draw", "save"]

KINDS = ("curves", "spread", "tradeoff", "contour")


def draw(kind: str, frame: pd.DataFrame, transitions: pd.DataFrame | None, spec) -> Figure:
    """The figure of `spec` (`meltpoint.study.config.Figure`); `transitions` as `fit_curves` gives them.

    Raises MeltpointError for an unknown kind or a frame with nothing to draw.
    """
    if kind not in KINDS:
        raise MeltpointError(f"No kind of figure is called {kind!r}; there are {sorted(KINDS)}.")
    module = importlib.import_module(f"{__name__}.{kind}")
    return getattr(module, f"draw_{kind}")(frame, transitions, spec)
