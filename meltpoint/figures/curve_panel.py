"""The panel of one model in a figure of curves: points, patterns, fits and the dense line."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from meltpoint.figures.legend import HOLLOW, PATTERNS, STAR
from meltpoint.figures.marks import draw_dense, draw_infinities
from meltpoint.figures.tooltips import note
from meltpoint.transitions.fit import predict


def draw_panel(ax: Axes, cells: pd.DataFrame, fits: pd.DataFrame, look: dict) -> None:
    """Draws all cells and fits of one model. look: colour and marker by method."""
    draw_dense(ax, cells.loc[cells["chain"] == "dense", "value"])
    if "floor" in fits:
        chance = fits["floor"].drop_duplicates()
        draw_dense(ax, chance[chance > 0], name="chance")
    for depth, (name, (color, marker)) in enumerate(look.items()):
        measured = cells[(cells["name"] == name) & (cells["chain"] != "dense")]
        fit = fits[fits["name"] == name]
        draw_points(ax, measured[measured["x"].notna()], color, marker, joined=fit.empty)
        draw_patterns(ax, measured, color)
        draw_infinities(ax, measured[measured["x"].notna()], color, depth)
        if len(fit):
            draw_fit(ax, fit.iloc[0], measured.loc[measured["x"].notna(), "x"], color)


def draw_points(ax: Axes, cells: pd.DataFrame, color: str, marker: str, joined: bool) -> None:
    """Draws points with their standard errors; with `joined` a line joins them."""
    cells = cells[np.isfinite(cells["value"])].sort_values("x")
    crowded = len(cells) > 12
    ax.errorbar(
        cells["x"],
        cells["value"],
        yerr=cells["stderr"].fillna(0),
        color=color,
        marker=marker,
        markersize=2.6 if crowded else 4,
        markeredgecolor="white",
        markeredgewidth=0.3 if crowded else 0.5,
        elinewidth=0.8,
        linestyle="-" if joined else "none",
        zorder=4,
    )
    note(ax, cells["x"], cells["value"], cells["tooltip"])


def draw_patterns(ax: Axes, cells: pd.DataFrame, color: str) -> None:
    """Draws N:M patterns as hollow triangles beside 0.5."""
    for level, (marker, offset) in PATTERNS.items():
        pattern = cells[(cells["level"] == level) & np.isfinite(cells["value"])]
        x = np.full(len(pattern), 0.5 + offset)
        ax.plot(x, pattern["value"], marker, color=color, **HOLLOW, zorder=5)
        note(ax, x, pattern["value"], pattern["tooltip"])


def draw_fit(ax: Axes, fit: pd.Series, x: pd.Series, color: str) -> None:
    """Draws a fitted curve over the measured sparsities `x`, and a star at its s0."""
    grid = np.linspace(x.min(), x.max(), 400)
    ax.plot(grid, predict(fit, grid), color=color, zorder=2)
    if np.isfinite(fit["s0"]):
        ax.plot(fit["s0"], fit["value_at_s0"], color=color, **STAR, zorder=6)
        note(ax, fit["s0"], fit["value_at_s0"], fit["tooltip"])
