"""Rows of methods by family, with dots for their values, for all figures of families."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meltpoint.figures.style import FAINT
from meltpoint.figures.tooltips import note

# Inches of a row.
ROW = 0.155
# The line at the dense value.
DENSE = {"color": FAINT, "linewidth": 0.8, "linestyle": (0, (4, 3))}
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


def with_heads(rows: Iterable[str]) -> list[str]:
    """The rows from the bottom, with one more row above each family, "family: "."""
    families = groupby(rows, key=lambda row: row.split(": ")[0])
    return [row for family, group in families for row in (*group, f"{family}: ")]


def draw_dots(ax: Axes, cells: pd.DataFrame, rows: list[str], dots: Dots) -> None:
    """Draws a dot for each cell (row, value, tooltip), or the word nan; rows are from the bottom."""
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


def draw_families(ax: Axes, rows: list[str]) -> None:
    """Labels the methods, writes each family's name in bold above them, and draws lines between.

    rows: the result of `with_heads`. The axes of one row of panels may share it.
    """
    families, methods = zip(*(row.split(": ", 1) for row in rows), strict=True)
    heads = [method == "" for method in methods]
    names = [method or family for family, method in zip(families, methods, strict=True)]
    ax.set(yticks=range(len(rows)), yticklabels=names, ylim=(-0.7, len(rows) - 0.4))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y")
    for y, (tick, head) in enumerate(zip(ax.yaxis.get_major_ticks(), heads, strict=True)):
        if head:
            tick.label1.set_fontweight("bold")
            tick.gridline.set_visible(False)
            if y + 1 < len(rows):
                ax.axhline(y + 0.5, color=FAINT, linewidth=0.5)
