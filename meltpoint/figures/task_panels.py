"""Panels of horizontal bars: the scores of tasks, with intervals."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from meltpoint.figures.bar_panels import INTERVAL, WORDS
from meltpoint.figures.panels import grid
from meltpoint.figures.style import FAINT, INK, PALETTE, RC
from meltpoint.figures.tooltips import note

Z = 1.96
DENSE = {"color": INK, "linewidth": 0.6, "linestyle": (0, (4, 3))}
CHANCE = {"color": PALETTE[1], "linewidth": 0.9, "linestyle": (0, (1, 1.5))}


def draw_panels(
    cells: pd.DataFrame, lines: list[str], width: float, row: float, frame: float
) -> Figure:
    """A figure with a panel for each model and score.

    cells: frame with the columns model, score, label (of the score), line (the name of the bar), chain,
    known (true for a cell with a value), value, stderr, status and chance (or NaN). lines: names of all
    bars from the top. In inches: width of a panel, height of a row, and height of a panel's frame,
    the space above and below its bars.
    """
    parts = list(cells.groupby(["model", "score"], sort=False))
    several = len(cells["model"].unique()) > 1
    rows, columns = grid(len(parts))
    with mpl.rc_context(RC):
        size = width * columns, rows * (row * len(lines) + frame)
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for ax, ((model, _), part) in zip(axes, parts, strict=False):
            draw_panel(ax, part, lines)
            label = part["label"].iloc[0]
            ax.set_title(f"{model}: {label}" if several else label)
        for ax in axes[len(parts) :]:
            ax.remove()
        draw_legend(figure, cells["chance"])
    return figure


def draw_legend(figure: Figure, chance: pd.Series) -> None:
    """Draws the legend of the lines below the panels; a value of chance that all share is in it."""
    values = chance.dropna().round(4).unique()
    handles = [Line2D([], [], label="dense", **DENSE)]
    if len(values):
        label = f"chance: {values[0]:g}" if len(values) == 1 else "chance"
        handles.append(Line2D([], [], label=label, **CHANCE))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)


def draw_panel(ax: Axes, part: pd.DataFrame, lines: list[str]) -> None:
    """Draws the bars of one panel, their intervals, and the lines of dense and chance."""
    known = part[part["known"]]
    places = known["line"].map(lines.index).to_numpy()
    colors = [FAINT if chain == "dense" else PALETTE[0] for chain in known["chain"]]
    values, reach = known["value"].to_numpy(), Z * known["stderr"].to_numpy()
    ax.barh(places, values, height=0.66, color=colors, alpha=0.85, linewidth=0)
    ax.errorbar(values, places, xerr=np.nan_to_num(reach), **INTERVAL)
    for value in known.loc[known["chain"] == "dense", "value"]:
        ax.axvline(value, **DENSE)
    for value in part["chance"].dropna().unique():
        ax.axvline(value, **CHANCE)
    words = {"transform": ax.get_yaxis_transform(), **WORDS}
    for each in part[~part["known"]].itertuples():
        ax.text(0.5, lines.index(each.line), each.status.replace("_", " "), **words)
    tooltips = [f"{each.line}\n{each.value:.4g} ± {each.stderr:.2g}" for each in known.itertuples()]
    note(ax, values, places, tooltips)
    ax.set_yticks(range(len(lines)), lines)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="x")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
