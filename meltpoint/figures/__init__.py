"""Figures by kind: each kind is a function of a tidy frame, its fitted transitions and its spec."""

import pandas as pd
from matplotlib.figure import Figure

from meltpoint.errors import MeltpointError
from meltpoint.figures.contour import draw_contour
from meltpoint.figures.curves import draw_curves
from meltpoint.figures.spread import draw_spread
from meltpoint.figures.style import save
from meltpoint.figures.tradeoff import draw_tradeoff

__all__ = ["KINDS", "draw", "save"]

KINDS = {
    **{"curves": draw_curves, "spread": draw_spread},
    **{"tradeoff": draw_tradeoff, "contour": draw_contour},
}


def draw(kind: str, frame: pd.DataFrame, transitions: pd.DataFrame | None, spec) -> Figure:
    """The figure of `spec` (`meltpoint.study.config.Figure`); `transitions` as `fit_curves` gives them.

    Raises MeltpointError for an unknown kind or a frame with nothing to draw.
    """
    if kind not in KINDS:
        raise MeltpointError(f"No kind of figure is called {kind!r}; there are {sorted(KINDS)}.")
    return KINDS[kind](frame, transitions, spec)
