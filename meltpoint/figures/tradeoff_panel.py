"""A panel of a tradeoff: lines through levels, dense stars and published points; its legend."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from meltpoint.figures.axes import scale_bits, scale_x, scale_y
from meltpoint.figures.ladder import draw_ladder, in_order
from meltpoint.figures.marks import draw_dense, draw_infinities
from meltpoint.figures.published_curves import LOOK
from meltpoint.figures.style import INK
from meltpoint.figures.tooltips import note

# Room above and below on a linear axis, as a fraction of the values' range.
MARGIN = 0.1
# Largest share of a logarithmic axis that may be empty between dense and all other cells.
MOST_EMPTY = 0.4
DENSE = {"marker": "*", "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.4}


def without_far_dense(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with a column `far`: the `x` of dense cells that would leave most of the axis empty.

    Those cells have NaN as `x`, and other cells NaN as `far`.
    """
    dense = (cells["chain"] == "dense") & (cells["x"] > 0)
    x = np.log(cells.loc[(cells["chain"] != "dense") & (cells["x"] > 0), "x"])
    low, high, at = x.min(), x.max(), np.log(cells.loc[dense, "x"])
    span = max(high, at.max()) - min(low, at.min())
    far = (at - at.clip(low, high)).abs() > MOST_EMPTY * span
    far = cells.loc[far[far].index, "x"].reindex(cells.index)
    return cells.assign(far=far, x=cells["x"].where(far.isna()))


def draw(ax: Axes, cells: pd.DataFrame, published: pd.DataFrame, look: Mapping) -> None:
    """Draws the cells of a panel's models. look: colour and marker by `line`."""
    dense, compressed = cells[cells["chain"] == "dense"], cells[cells["chain"] != "dense"]
    alone = len(cells["model"].unique()) == 1
    if alone:
        for _, cell in dense.iterrows():
            place = "" if np.isnan(cell["far"]) else f"at {cell['far']:.3g}"
            draw_dense(ax, pd.Series([cell["value"]]), place=place)
    depth = 0
    for name, line in compressed[compressed["x"] > 0].groupby("line", sort=False):
        line = line.sort_values(["x", "value"]).assign(stderr=line["difference_stderr"])
        finite = np.isfinite(line["value"])
        draw_ladder(ax, line[finite], look[name], name, joined=in_order(line))
        draw_infinities(ax, line, look[name][0], depth)
        depth += not finite.all()
    for _, cell in dense[dense["x"] > 0].iterrows():
        color = INK if alone else look[cell["model"]][0]
        ax.plot(cell["x"], cell["value"], color=color, **DENSE)
        note(ax, cell["x"], cell["value"], cell["tooltip"])
    for name, line in published.groupby("line", sort=False):
        draw_published(ax, line, *look.get(name, (INK, "o")))


def draw_published(ax: Axes, cells: pd.DataFrame, color: str, marker: str) -> None:
    """Draws a dashed line with hollow markers."""
    cells = cells.sort_values("x")
    ax.plot(cells["x"], cells["value"], color=color, marker=marker, **LOOK)
    note(ax, cells["x"], cells["value"], cells["tooltip"])


def scale(ax: Axes, cells: pd.DataFrame, in_bits: bool, linear: bool = False) -> None:
    """Makes both axes logarithmic over the cells, or with `linear` only x.

    in_bits: x is in bits, whose ticks are labelled one by one.
    """
    x = cells.loc[cells["x"] > 0, "x"]
    (scale_bits if in_bits else scale_x)(ax, x)
    if linear:
        ax.margins(y=MARGIN)
        return
    scale_y(ax, cells.loc[np.isfinite(cells["value"]), "value"])


def handles(
    cells: pd.DataFrame, published: pd.DataFrame, look: Mapping, labels: Mapping[str, str]
) -> list[Line2D]:
    """Legend handles of the lines, the published lines, and dense."""
    lines = [
        Line2D([], [], color=color, marker=marker, markeredgecolor="white",
               label=labels.get(name, name))
        for name, (color, marker) in look.items()
    ]  # fmt: skip
    for name, line in published.groupby("line", sort=False):
        color, marker = look.get(name, (INK, "o"))
        first = line.iloc[0]
        label = f"{first.get('of') or first['method']} (published)"
        lines.append(Line2D([], [], color=color, marker=marker, label=label, **LOOK))
    if (cells.loc[cells["chain"] == "dense", "x"] > 0).any():
        lines.append(Line2D([], [], color=INK, linestyle="none", label="dense", **DENSE))
    return lines
