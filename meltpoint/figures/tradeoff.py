"""Perplexity over what a model weighs or how fast it is: what each bit buys."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meltpoint.analysis.levels import level_label, nominal_bits
from meltpoint.analysis.matching import pairs
from meltpoint.analysis.rows import row_names
from meltpoint.analysis.units import Quantity, quantity
from meltpoint.errors import MeltpointError
from meltpoint.figures.axes import scale_bits, scale_x, scale_y
from meltpoint.figures.beside import LOOK, split
from meltpoint.figures.curves import draw_dense, draw_infinities
from meltpoint.figures.hover import note
from meltpoint.figures.ladder import draw_ladder
from meltpoint.figures.legend import LEGEND_ROW, columns
from meltpoint.figures.style import INK, RC, looks
from meltpoint.figures.words import put_words
from meltpoint.text import reading

HEIGHT = 0.8
# Room below for what dense is called, as a share of the axis.
BELOW = 0.05
DENSE = {"marker": "*", "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.4}


def draw_tradeoff(frame: pd.DataFrame, _transitions: pd.DataFrame | None, spec) -> Figure:
    """A line through the levels of each method, a panel per model; of one method a line per model.

    Along x lie nominal bits, or the evaluation that `spec.x` names, both axes logarithmic. Points
    have their standard errors and, where there is room, their level; dense is a dashed line, and a
    star where it is on the axis. Published points are hollow, at the x of the same level here. Raises
    MeltpointError where no cell has a place.
    """
    cells, along = prepare(frame, spec)
    own, beside = split(cells, spec)
    lines = own.loc[own["chain"] != "dense", "name"].unique()
    by = "name" if len(lines) > 1 else "model"
    beside = beside.assign(line=beside["own"] if by == "name" else beside["model"])
    own = own.assign(line=own[by])
    names = list(own.loc[own["chain"] != "dense", "line"].unique())
    names.sort(key=lambda name: spec.order.index(name) if name in spec.order else len(spec.order))
    look = looks(names, spec.colors)
    models = list(own["model"].unique())
    groups = [[model] for model in models] if by == "name" else [models]
    signs = list(handles(own, beside, look, spec))
    with mpl.rc_context(RC):
        figure, axes = panels(len(groups), [sign.get_label() for sign in signs], spec)
        for ax, group in zip(axes, groups, strict=True):
            theirs = beside[beside["model"].isin([*group, "published"])]
            draw_panel(ax, own[own["model"].isin(group)], theirs, look, spec)
            ax.set_title(group[0] if len(groups) > 1 else "")
            ax.set_xlabel("nominal bits per weight" if along is None else str(along))
        axes[0].set_ylabel("perplexity")
        scale(axes[0], pd.concat([own, beside]), along)
        width = figure.get_figwidth()
        ncols = columns([sign.get_label() for sign in signs], width)
        figure.legend(handles=signs, loc="outside lower center", ncols=ncols)
        for ax, group in zip(axes, groups, strict=True):
            named = own[own["model"].isin(group) & (own["chain"] != "dense")]
            # From the top: of points above each other the upper one has the first choice.
            named = named.sort_values("value", ascending=False, kind="stable")
            put_words(ax, named["x"], named["value"], words(named, spec))
    return figure


def prepare(frame: pd.DataFrame, spec) -> tuple[pd.DataFrame, Quantity | None]:
    """The cells of the evaluation with their place `x` and what they say, and what lies along x.

    What is published has its nominal bits; over an evaluation it has no place yet.
    """
    cells = row_names(frame[(frame["evaluation"] == spec.value) & (frame["status"] == "ok")],
                      spec.labels)  # fmt: skip
    bits = [nominal_bits(*pair) for pair in zip(cells["level"], cells["method"], strict=True)]
    cells["x"], along = pd.Series(bits, index=cells.index), None
    if spec.x != "level":
        measured = frame[(frame["evaluation"] == spec.x) & (frame["status"] == "ok")]
        along = quantity(measured)
        places = measured.set_index(["model", "chain"])["value"] / along.factor
        wanted = pd.MultiIndex.from_frame(cells[["model", "chain"]])
        cells["x"] = places.reindex(wanted).to_numpy(float) if len(places) else np.nan
    compressed = (cells["chain"] != "dense") & (cells["model"] != "published")
    if not cells.loc[compressed, "x"].gt(0).any():
        what = "nominal bits" if along is None else f"a value of {spec.x}"
        raise MeltpointError(f"No cell of {spec.value} has {what} to draw it over.")
    cells["says"] = [describe(cell, along, spec) for cell in cells.to_dict("records")]
    return cells, along


def describe(cell: dict, along: Quantity | None, spec) -> str:
    """A point's text: model, method and level, perplexity, and what it lies at."""
    method = spec.labels.get(cell["name"], cell["name"])
    title = f"{cell['model']}, {method}" + (f" {level_label(cell['level'])}" * bool(cell["level"]))
    at = f"\n{along}: {cell['x']:.4g}" if along is not None and np.isfinite(cell["x"]) else ""
    return f"{title}\nperplexity {reading(cell['value'], cell['stderr'])}{at}"


def panels(count: int, labels: list[str], spec) -> tuple[Figure, list[Axes]]:
    """A row of panels that share their axes, and room for the legend below."""
    width = count * spec.width
    rows = -(-len(labels) // columns(labels, width))
    height = HEIGHT * min(spec.width, 4) + LEGEND_ROW * (rows + 0.5)
    figure = Figure((width, height), layout="constrained")
    return figure, list(figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0])


def draw_panel(ax: Axes, own: pd.DataFrame, beside: pd.DataFrame, look: dict, spec) -> None:
    """The lines, what is dense, and what is published."""
    dense, compressed = own[own["chain"] == "dense"], own[own["chain"] != "dense"]
    alone = len(own["model"].unique()) == 1
    if alone:
        draw_dense(ax, dense["value"], above=False)
    for depth, (name, cells) in enumerate(compressed.groupby("line", sort=False)):
        cells = cells[cells["x"] > 0].sort_values(["x", "value"])
        draw_ladder(ax, cells[np.isfinite(cells["value"])], look[name], name)
        draw_infinities(ax, cells, look[name][0], depth)
    for _, cell in dense[dense["x"] > 0].iterrows():
        color = INK if alone else look[cell["model"]][0]
        ax.plot(cell["x"], cell["value"], color=color, **DENSE)
        note(ax, cell["x"], cell["value"], cell["says"])
    for name, theirs in beside.groupby("line", sort=False):
        lines = compressed[compressed["name"] == theirs["own"].iloc[0]]
        draw_published(ax, placed(theirs, lines, spec), *look.get(name, (INK, "o")))


def placed(theirs: pd.DataFrame, own: pd.DataFrame, spec) -> pd.DataFrame:
    """What is published at the x of the same level here, or at its nominal bits."""
    if spec.x == "level":
        return theirs
    model = theirs["model"].iloc[0]
    own = own[own["model"] == (model if model != "published" else own["model"].iloc[0])]
    levels = pairs(list(own["level"]), list(theirs["level"]), own["method"].iloc[0])
    place = {level: own.loc[own["level"] == ours, "x"].iloc[0] for ours, level in levels}
    return theirs.assign(x=theirs["level"].map(place))


def draw_published(ax: Axes, theirs: pd.DataFrame, color: str, marker: str) -> None:
    """A dashed line with hollow markers."""
    theirs = theirs[theirs["x"].notna() & np.isfinite(theirs["value"])].sort_values("x")
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
