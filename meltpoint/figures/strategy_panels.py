"""Panels of decoding strategies: a row for each strategy, a marker for each chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.figures.style import FAINT, RC, looks, ordered
from meltpoint.figures.tooltips import note

if TYPE_CHECKING:
    from meltpoint.figures.strategies import Spec

ROW, FRAME = 0.2, 1.1
# Half width of an interval in standard errors, and the share of a row over which its markers spread.
INTERVAL, SPREAD = 1.96, 0.6
BAR = {"linestyle": "none", "markersize": 3.5, "elinewidth": 0.8, "capsize": 0}


def draw_panels(columns: list[pd.DataFrame], spec: Spec) -> Figure:
    """Draws a row of panels for each model.

    columns: for each task a frame with model, strategy, stochastic, line (the chain's printed name),
    value, stderr and label.
    """
    cells = pd.concat(columns)
    models = list(dict.fromkeys(cells["model"]))
    look = looks(ordered(cells["line"], spec.order), spec.colors)
    most = max(column["strategy"].nunique() for column in columns)
    size = (spec.width * len(columns), (ROW * most + FRAME) * len(models))
    with mpl.rc_context(RC):
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(len(models), len(columns), squeeze=False)
        for row, model in zip(axes, models, strict=True):
            left: list[str] = []
            for ax, column in zip(row, columns, strict=True):
                names = draw_panel(ax, column[column["model"] == model], look)
                shown = ["" if names == left else spec.labels.get(name, name) for name in names]
                ax.set_yticks(range(len(names)), shown)
                left = names
                if not column.empty:
                    ax.set_title(f"{column['evaluation'].iloc[0]}, {model}")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels) or 1))
    return figure


def draw_panel(ax: Axes, cells: pd.DataFrame, look: dict[str, tuple[str, str]]) -> list[str]:
    """Draws the strategies of one task and model; returns their names from the top.

    Deterministic strategies are above a line. look: colour and marker of each chain's printed name.
    """
    if cells.empty:
        ax.text(0.5, 0.5, "no score", transform=ax.transAxes, ha="center", color=FAINT)
        return []
    names = cells.sort_values("stochastic", kind="stable")["strategy"].unique().tolist()
    lines = [line for line in look if line in set(cells["line"])]
    step = SPREAD / max(1, len(lines) - 1)
    for number, line in enumerate(lines):
        part = cells[cells["line"] == line]
        shift = (number - (len(lines) - 1) / 2) * step
        places = part["strategy"].map(names.index).to_numpy() + shift
        color, marker = look[line]
        errors = (INTERVAL * part["stderr"]).fillna(0)
        ax.errorbar(part["value"], places, xerr=errors, fmt=marker, color=color, label=line, **BAR)
        tips = [f"{line}, {each.strategy}: {each.value:.4g}" for each in part.itertuples()]
        note(ax, part["value"].to_numpy(), places, tips)
    deterministic = cells.loc[~cells["stochastic"], "strategy"].nunique()
    if 0 < deterministic < len(names):
        ax.axhline(deterministic - 0.5, color=FAINT, linewidth=0.6)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(cells["label"].iloc[0])
    ax.grid(axis="y", visible=False)
    return names
