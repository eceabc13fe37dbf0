"""Phase figures of the published curves, drawn as a study's own; patterns beside them."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.data.published.frames import read
from meltpoint.figures.axes import scale_x
from meltpoint.figures.curves import draw_curves
from meltpoint.figures.style import FAINT, RC
from meltpoint.figures.tooltips import note
from meltpoint.published.phase_transitions import frames
from meltpoint.study.outputs import Figure as Section

PLACES = {
    "0.5": ("unstructured", "#0072B2", 7.0),
    "4of8": ("4:8", "#E69F00", 5.0),
    "2of4": ("2:4", "#D55E00", 3.2),
}


SPEC = Section(of="published", value=frames.EVALUATION, fit="transition", width=4.6)


def phase(family: str, transitions: pd.DataFrame) -> Figure:
    """The points, fits and transition points of a family; `transitions` as the CSV holds them."""
    points = frames.figure_points()
    figure = draw_curves(points[points["kind"] == family], curves_of(family, transitions), SPEC)
    span = read("mpt_phase_ranges").set_index("family").loc[family]
    figure.axes[1].axvspan(span["low"], span["high"], color="#EFEFEF", linewidth=0, zorder=0)
    return figure


def curves_of(family: str, transitions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the published form as `fit_curves` gives them."""
    same = {"form": "power law", "ppl0": np.nan, "settings": ""}
    own = transitions[transitions["family"] == family]
    return own.assign(**same, model=frames.MODEL, evaluation=frames.EVALUATION)


def patterns() -> Figure:
    """What a pattern costs at 50 %: a line per method, one marker for each place on it."""
    tables = {"default calibration": frames.by_level(2), "calibrated on PTB": frames.by_level(3)}
    wide = {title: with_patterns(cells) for title, cells in tables.items()}
    with mpl.rc_context(RC):
        figure = Figure((3.35, 3.4), layout="constrained")
        ratios = [len(methods) for methods in wide.values()]
        axes = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
        for ax, (title, methods) in zip(axes, wide.items(), strict=True):
            draw_patterns(ax, methods, title)
        scale_x(axes[0], pd.concat(list(wide.values())).melt()["value"])
        axes[1].set_xlabel("perplexity")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def with_patterns(cells: pd.DataFrame) -> pd.DataFrame:
    """Perplexity by method and place, for methods with a pattern, the worst first."""
    wide = cells.pivot_table(index="method", columns="level", values="value")[list(PLACES)]
    return wide[wide[["2of4", "4of8"]].notna().any(axis=1)].sort_values("0.5", ascending=False)


def draw_patterns(ax: Axes, wide: pd.DataFrame, title: str) -> None:
    """Later places are smaller, so that equal ones are both seen."""
    y = np.arange(len(wide))
    ax.hlines(y, wide.min(axis=1), wide.max(axis=1), color=FAINT, linewidth=0.8, zorder=1)
    for level, (label, color, size) in PLACES.items():
        x = wide[level]
        ax.plot(x, y, "o", color=color, label=label, markersize=size, markeredgewidth=0)
        note(ax, x, y, [f"{m}, {label}\nperplexity {v:.4f}" for m, v in x.items()])
    ax.set_title(title, loc="left", fontsize=7.5)
    ax.set(yticks=y, yticklabels=wide.index, ylim=(-0.6, len(wide) - 0.4))
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
