"""The strip below a panel of curves: each transition point with its confidence interval."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from meltpoint.figures.legend import HALF, HOLLOW_STAR, STAR
from meltpoint.figures.tooltips import note

# Inches of a row.
ROW = 0.095
INTERVAL = {"linewidth": 1.0, "marker": "|", "markersize": 5, "markeredgewidth": 1.0}

# Line of the interval over windows or documents alone.
OVER_UNITS = {"linewidth": 3.0, "solid_capstyle": "butt"}


def draw_strip(ax: Axes | None, fits: pd.DataFrame, look: dict) -> None:
    """Draws a row for each method of `look` that has a transition point; nothing if `ax` is None."""
    if ax is None:
        return
    transitions = fits.dropna(subset="x").set_index("name")
    for depth, name in enumerate(n for n in look if n in transitions.index):
        draw_row(ax, -depth, transitions.loc[name], look[name][0])
    ax.set_ylim(-len(transitions) + 0.2, 0.8)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def draw_row(ax: Axes, y: float, fit: pd.Series, color: str) -> None:
    """Draws an interval with its s0 as a star; a published s0 is a hollow star.

    Without an s0 it draws a circle where half of an accuracy's advantage is lost.
    """
    if not np.isfinite(fit["s0"]):
        ax.plot([fit["s_half_low"], fit["s_half_high"]], [y, y], color=color, **OVER_UNITS)
        ax.plot(fit["s_half"], y, color=color, **HALF)
        note(ax, fit["s_half"], y, fit["tooltip"])
        return
    ax.plot([fit["s0_low"], fit["s0_high"]], [y, y], color=color, **INTERVAL)
    ax.plot([fit["s0_windows_low"], fit["s0_windows_high"]], [y, y], color=color, **OVER_UNITS)
    published = fit.get("s0_published", np.nan)
    if np.isfinite(published):
        ax.plot(published, y, color=color, **HOLLOW_STAR)
        note(ax, published, y, f"{fit.name}: published transition at {published:.3f}")
    ax.plot(fit["s0"], y, color=color, **STAR)
    note(ax, fit["s0"], y, fit["tooltip"])
