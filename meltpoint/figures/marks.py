"""Marks that several kinds of figure share: the dense line, and signs for values not finite."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from meltpoint.figures.axes import tick
from meltpoint.figures.style import FAINT
from meltpoint.figures.tooltips import note

DENSE_LINE = {"color": FAINT, "linestyle": (0, (4, 2)), "linewidth": 0.8, "zorder": 1}


def draw_dense(ax: Axes, values: pd.Series, name: str = "dense", place: str = "") -> None:
    """Draws the dense value as a dashed line; its name is right of the axes, away from the curves.

    Values of 0 are left out on a logarithmic axis. name: text for a value other than dense. place: a
    text below the value, such as its place along x.
    """
    seen = np.isfinite(values) & ((values > 0) | (ax.get_yscale() != "log"))
    for value in values[seen]:
        ax.axhline(value, **DENSE_LINE)
        name_line(ax, value, name, place)


def name_line(ax: Axes, value: float, name: str, place: str = "") -> None:
    """Puts the name of a horizontal line, its value and `place` on the right of the axes."""
    ax.annotate(
        "\n".join(filter(None, (name, tick(float(f"{value:.3g}")), place))),
        (1, value),
        xycoords=ax.get_yaxis_transform(),
        xytext=(3, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=6.5,
        color="#5F5F5F",
    )


def draw_infinities(ax: Axes, cells: pd.DataFrame, color: str, depth: int) -> None:
    """Draws infinite and undefined values as signs at the upper edge, on line number `depth`."""
    edge = ax.get_xaxis_transform()
    lowered = offset_copy(edge, ax.figure, y=-6 * depth, units="points")
    for _, cell in cells[~np.isfinite(cells["value"])].iterrows():
        note(ax, cell["x"], 1, cell["tooltip"], transform=lowered)
        ax.annotate(
            "∞" if cell["value"] == np.inf else "nan",
            (cell["x"], 1),
            xycoords=edge,
            xytext=(0, -6 * depth),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8 if cell["value"] == np.inf else 6,
            color=color,
        )
