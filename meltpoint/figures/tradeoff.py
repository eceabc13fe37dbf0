"""Perplexity over what a model weighs or how fast it is: what each bit buys."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.levels import level_label, nominal_bits
from meltpoint.analysis.published_match import pairs
from meltpoint.analysis.quantities import Quantity, quantity
from meltpoint.analysis.rows import row_names
from meltpoint.errors import MeltpointError
from meltpoint.figures.axes import in_rows, leftmost, lowest, scale_bits, scale_x, scale_y
from meltpoint.figures.curves import draw_dense, draw_infinities
from meltpoint.figures.ladder import draw_ladder
from meltpoint.figures.legend import LEGEND_ROW, columns
from meltpoint.figures.panels import grid
from meltpoint.figures.point_labels import put_words
from meltpoint.figures.published_curves import LOOK, split
from meltpoint.figures.style import INK, RC, looks
from meltpoint.figures.tooltips import note
from meltpoint.text import reading

HEIGHT = 0.8
# Room below for what dense is called, as a share of the axis.
BELOW = 0.05
DENSE = {"marker": "*", "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.4}


def draw_tradeoff(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec) -> Figure:
    """A line through the levels of each method, a panel per model; of one method a line per model.

    Along x lie nominal bits, or the evaluation that `spec.x` names, both axes logarithmic; panels
    stand in rows of `meltpoint.figures.panels.ACROSS`. Points
    have their standard errors and, where there is room, their level; dense is a dashed line, and a
    star where it is on the axis. Published points are hollow, at the x of the same level here. Raises
    MeltpointError where no cell has a place.
    """
    what = quantity(scores_named(frame, spec.value))
    cells, along = prepare(frame, spec, what)
    own, beside = split(cells, spec)
    lines = own.loc[own["chain"] != "dense", "name"].unique()
    by = "name" if len(lines) > 1 else "model"
    beside = beside.assign(line=beside["own"] if by == "name" else beside["model"])
    own, beside = own.assign(line=own[by]), placed(beside, own, spec)
    names = list(own.loc[own["chain"] != "dense", "line"].unique())
    names.sort(key=lambda name: spec.order.index(name) if name in spec.order else len(spec.order))
    look = looks(names, spec.colors)
    models = list(own["model"].unique())
    groups = [[model] for model in models] if by == "name" else [models]
    signs = list(handles(own, beside, look, spec))
    with mpl.rc_context(RC):
        figure, axes = panels(len(groups), [sign.get_label() for sign in signs], spec)
        for ax, group in zip(axes, groups, strict=True):
            theirs = beside[beside["model"].isin(group)]
            draw_panel(ax, own[own["model"].isin(group)], theirs, look)
            ax.set_title(group[0] if len(groups) > 1 else "")
        for ax in lowest(axes):
            ax.set_xlabel("nominal bits per weight" if along is None else str(along))
        for ax in leftmost(axes):
            ax.set_ylabel(str(what))
        scale(axes[0], drawn(own, beside, alone=len(groups[0]) == 1), along)
        width = figure.get_figwidth()
        ncols = columns([sign.get_label() for sign in signs], width)
        figure.legend(handles=signs, loc="outside lower center", ncols=ncols)
        for ax, group in zip(axes, groups, strict=True):
            named = own[own["model"].isin(group) & (own["chain"] != "dense")]
            # From the top: of points above each other the upper one has the first choice.
            named = named.sort_values("value", ascending=False, kind="stable")
            put_words(ax, named["x"], named["value"], words(named, spec))
    return figure


def prepare(frame: pd.DataFrame, spec, what: Quantity) -> tuple[pd.DataFrame, Quantity | None]:
    """The cells of the evaluation with their place `x` and what they say, and what lies along x.

    What is published has its nominal bits; over an evaluation it has no place yet.
    """
    cells = row_names(scores_named(frame, spec.value).query("status == 'ok'"), spec.labels)
    bits = [nominal_bits(*pair) for pair in zip(cells["level"], cells["method"], strict=True)]
    cells["x"], along = pd.Series(bits, index=cells.index), None
    if spec.x != "level":
        measured = scores_named(frame, spec.x).query("status == 'ok'")
        along = quantity(measured)
        places = measured.set_index(["model", "chain"])["value"] / along.factor
        wanted = pd.MultiIndex.from_frame(cells[["model", "chain"]])
        cells["x"] = places.reindex(wanted).to_numpy(float) if len(places) else np.nan
    compressed = (cells["chain"] != "dense") & (cells["model"] != "published")
    if not cells.loc[compressed, "x"].gt(0).any():
        what = "nominal bits" if along is None else f"a value of {spec.x}"
        raise MeltpointError(f"No cell of {spec.value} has {what} to draw it over.")
    cells["says"] = [describe(cell, along, spec, what) for cell in cells.to_dict("records")]
    return cells, along


def describe(cell: dict, along: Quantity | None, spec, what: Quantity) -> str:
    """A point's text: model, method and level, perplexity, and what it lies at."""
    method = spec.labels.get(cell["name"], cell["name"])
    title = f"{cell['model']}, {method}" + (f" {level_label(cell['level'])}" * bool(cell["level"]))
    at = f"\n{along}: {cell['x']:.4g}" if along is not None and np.isfinite(cell["x"]) else ""
    return f"{title}\n{what} {reading(cell['value'], cell['stderr'])}{at}"


def panels(count: int, labels: list[str], spec) -> tuple[Figure, list[Axes]]:
    """Panels that share their axes, and room for the legend below."""
    rows, across = grid(count)
    width = across * spec.width
    below = LEGEND_ROW * (-(-len(labels) // columns(labels, width)) + 0.5)
    figure = Figure((width, rows * HEIGHT * min(spec.width, 4) + below), layout="constrained")
    return figure, in_rows(figure, count, sharex=True, sharey=True)


def draw_panel(ax: Axes, own: pd.DataFrame, beside: pd.DataFrame, look: dict) -> None:
    """The lines, what is dense, and what is published."""
    dense, compressed = own[own["chain"] == "dense"], own[own["chain"] != "dense"]
    alone = len(own["model"].unique()) == 1
    if alone:
        draw_dense(ax, dense["value"], above=False)
    depth = 0
    for name, cells in compressed[compressed["x"] > 0].groupby("line", sort=False):
        cells = cells.sort_values(["x", "value"])
        finite = np.isfinite(cells["value"])
        draw_ladder(ax, cells[finite], look[name], name)
        draw_infinities(ax, cells, look[name][0], depth)
        depth += not finite.all()
    for _, cell in dense[dense["x"] > 0].iterrows():
        color = INK if alone else look[cell["model"]][0]
        ax.plot(cell["x"], cell["value"], color=color, **DENSE)
        note(ax, cell["x"], cell["value"], cell["says"])
    for name, theirs in beside.groupby("line", sort=False):
        draw_published(ax, theirs, *look.get(name, (INK, "o")))


def placed(theirs: pd.DataFrame, own: pd.DataFrame, spec) -> pd.DataFrame:
    """What is published and has a place: the x of the same level of ours, or its nominal bits."""
    if spec.x != "level":
        lines = [cells for _, cells in theirs.groupby(["model", "own"], sort=False)]
        theirs = pd.concat([theirs[:0], *(at_ours(cells, own) for cells in lines)])
    return theirs[(theirs["x"] > 0) & np.isfinite(theirs["value"])]


def at_ours(theirs: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """A line of what is published, at the x of our cells of its method and model, NaN without."""
    first = theirs.iloc[0]
    ours = own[(own["model"] == first["model"]) & (own["name"] == first["own"])]
    places = dict(zip(ours["level"], ours["x"], strict=True))
    levels = pairs(list(places), list(theirs["level"]), next(iter(ours["method"]), ""))
    return theirs.assign(x=theirs["level"].map({level: places[x] for x, level in levels}))


def drawn(own: pd.DataFrame, beside: pd.DataFrame, alone: bool) -> pd.DataFrame:
    """What is seen: a model that is alone in its panel has a line for dense, wherever that lies."""
    return pd.concat([own[(own["x"] > 0) | (own["chain"] == "dense") & alone], beside])


def draw_published(ax: Axes, theirs: pd.DataFrame, color: str, marker: str) -> None:
    """A dashed line with hollow markers."""
    theirs = theirs.sort_values("x")
    ax.plot(theirs["x"], theirs["value"], color=color, marker=marker, **LOOK)
    note(ax, theirs["x"], theirs["value"], theirs["says"])


def scale(ax: Axes, cells: pd.DataFrame, along: Quantity | None) -> None:
    """Both axes logarithmic; bits are labelled one by one."""
    places = cells.loc[cells["x"] > 0, "x"]
    in_bits = along is None or along.words == "bits per weight"
    (scale_bits if in_bits else scale_x)(ax, places)
    scale_y(ax, cells.loc[np.isfinite(cells["value"]), "value"])
    low, high = ax.get_ylim()
    ax.set_ylim(bottom=low * (low / high) ** BELOW)


def words(cells: pd.DataFrame, spec) -> list[str]:
    """What stands by each point: its level, unless it says what the axis says."""
    plain = cells["level"].str.endswith("bit") & (spec.x == "level")
    return ["" if skip else level_label(level) if level else ""
            for level, skip in zip(cells["level"], plain, strict=True)]  # fmt: skip


def handles(own: pd.DataFrame, beside: pd.DataFrame, look: dict, spec) -> list[Line2D]:
    """What the legend says: the lines, what is published, and dense."""
    found = [
        Line2D([], [], color=color, marker=marker, markeredgecolor="white",
               label=spec.labels.get(name, name))
        for name, (color, marker) in look.items()
    ]  # fmt: skip
    for name, theirs in beside.groupby("line", sort=False):
        color, marker = look.get(name, (INK, "o"))
        first = theirs.iloc[0]
        label = f"{first.get('of') or first['method']} (published)"
        found.append(Line2D([], [], color=color, marker=marker, label=label, **LOOK))
    if (own.loc[own["chain"] == "dense", "x"] > 0).any():
        found.append(Line2D([], [], color=INK, linestyle="none", label="dense", **DENSE))
    return found
