"""The signs that figures share, and the legend that explains them."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meltpoint.analysis.levels import level_label
from meltpoint.figures.spec import FigureSpec
from meltpoint.figures.style import INK

LEGEND_ROW = 0.16
# Marker and shift along x of each pattern: triangles beside the unstructured points of that sparsity.
PATTERNS = {"2of4": ("<", 0.014), "4of8": (">", -0.014)}
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 0.9, "markersize": 4, "linestyle": "none"}
STAR = {
    "marker": "*",
    "markersize": 7.5,
    "markeredgecolor": INK,
    "markeredgewidth": 0.5,
    "linestyle": "none",
}
# Marker of the sparsity at which half of an accuracy's advantage over chance is lost.
HALF = {
    "marker": "o",
    "markersize": 4.5,
    "markeredgecolor": INK,
    "markeredgewidth": 0.5,
    "linestyle": "none",
}
HOLLOW_STAR = {
    "marker": "*",
    "markersize": 6.5,
    "markerfacecolor": "white",
    "markeredgewidth": 0.7,
    "linestyle": "none",
}


def draw_legend(
    figure: Figure,
    cells: pd.DataFrame,
    fits: pd.DataFrame,
    look: dict,
    spec: FigureSpec,
    published: Iterable[Line2D] = (),
) -> None:
    """Draws the legend below the panels: methods, published curves, then signs."""
    figure.legend(
        handles=[*method_handles(look, spec), *published, *sign_handles(cells, fits)],
        loc="outside lower center",
        ncols=columns([spec.labels.get(name, name) for name in look], figure.get_figwidth()),
        handlelength=1.6,
        columnspacing=1.2,
        handletextpad=0.5,
        labelspacing=0.35,
        borderaxespad=0.2,
    )


def columns(labels: list[str], width: float) -> int:
    """Number of columns of the legend that fit a width in inches; no more than one row needs."""
    longest = max(13, *map(len, labels)) * 0.055 + 0.3
    return max(1, min(len(labels) + 3, int(width / longest)))


def method_handles(look: dict, spec: FigureSpec) -> Iterable[Line2D]:
    """Legend handles of the methods."""
    for name, (color, marker) in look.items():
        label = spec.labels.get(name, name)
        yield Line2D([], [], color=color, marker=marker, markeredgecolor="white", label=label)


def sign_handles(cells: pd.DataFrame, fits: pd.DataFrame) -> Iterable[Line2D]:
    """Legend handles of the signs that a figure of these cells and fits has."""
    for level, (marker, _) in PATTERNS.items():
        if (cells["level"] == level).any():
            yield Line2D([], [], color=INK, marker=marker, label=level_label(level), **HOLLOW)
    if fits["s0"].notna().any():
        yield Line2D([], [], color="#BBBBBB", label="$s_0$, 95 % interval", **STAR)
    if "s_half" in fits and (fits["s0"].isna() & fits["s_half"].notna()).any():
        yield Line2D([], [], color="#BBBBBB", label="half of accuracy lost", **HALF)
    if "s0_published" in fits and fits["s0_published"].notna().any():
        yield Line2D([], [], color=INK, label="published $s_0$", **HOLLOW_STAR)
