"""Rows of methods by family, with dots for their values: what figures of families share."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meltpoint.figures.style import FAINT
from meltpoint.figures.tooltips import note

# Inches of a row.
ROW = 0.155
SMALL = {"ha": "right", "va": "center", "fontsize": 6.5}


@dataclass(frozen=True)
class Dots:
    """Label, colour, marker and sizes of the dots of one group."""

    label: str
    color: str
    marker: str = "o"
    size: float = 4
    edge: float = 0.4
    edge_color: str = "white"


def draw_dots(ax: Axes, cells: pd.DataFrame, rows: list[str], dots: Dots) -> None:
    """Draws a dot for each cell (row, value, tooltip), rows from below; NaN is a word."""
    style = {"color": dots.color, "marker": dots.marker, "size": dots.size, "linewidth": dots.edge}
    sns.stripplot(
        cells, x="value", y="row", order=rows, jitter=False, edgecolor=dots.edge_color,
        legend=False, ax=ax, zorder=2.5, **style,
    )  # fmt: skip
    places = cells["row"].map(rows.index)
    note(ax, cells["value"], places, list(cells["tooltip"]))
    for place in places[cells["value"].isna()]:
        word = SMALL | {"fontsize": 6, "color": dots.color}
        ax.text(0.995, place, "nan", transform=ax.get_yaxis_transform(), **word)
    ax.grid(axis="x")
    ax.set_ylabel("")


def handles(groups: Iterable[Dots]) -> list[Line2D]:
    """Legend handles of groups of dots."""
    return [
        Line2D([], [], color=d.color, marker=d.marker, markersize=d.size, markeredgewidth=d.edge,
               markeredgecolor=d.edge_color, label=d.label, linestyle="none")
        for d in groups
    ]  # fmt: skip


def draw_families(ax: Axes, rows: list[str], named: bool) -> None:
    """Labels of the methods, a line between families, and their names beside the best method.

    rows: "family: method", from below.
    """
    families, methods = zip(*(row.split(": ", 1) for row in rows), strict=True)
    ax.set(yticks=range(len(rows)), yticklabels=methods, ylim=(-0.7, len(rows) - 0.3))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y")
    for y, (below, above) in enumerate(pairwise(families)):
        if below != above:
            ax.axhline(y + 0.5, color=FAINT, linewidth=0.5)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    for family, y in {family: y for y, family in enumerate(families)}.items() if named else ():
        transform = ax.get_yaxis_transform()
        ax.text(0.98, y, family, transform=transform, color="#5F5F5F", bbox=box, **SMALL)
