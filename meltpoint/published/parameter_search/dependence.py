"""The figure of partial dependence: accuracy by method, length and samples."""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from meltpoint.figures.style import MARKERS, PALETTE, RC
from meltpoint.figures.tooltips import note
from meltpoint.published.parameter_search.read import SEARCH
from meltpoint.published.parameter_search.scatter import WIDTH, draw_stderr

AXES = {
    "method": "method",
    "seq_len": "calibration length (tokens)",
    "num_samples": "calibration samples",
}


@dataclass(frozen=True)
class Wording:
    """Name of the target on the axis, and the factor by which its values are multiplied there.

    With `apart` each model has panels of its own, as perplexities of two models may be far apart.
    """

    label: str
    scale: float
    apart: bool = False


ACCURACY = Wording("mean accuracy (%)", 100)


def draw_dependence(
    dependence: pd.DataFrame, stderr: pd.Series, wording: Wording = ACCURACY
) -> Figure:
    """Partial dependence by factor: a line per model with its interval, and the noise of one run.

    stderr: standard error of a run, by model; a row of panels shows the largest of its models.
    """
    models = list(dependence["model"].unique())
    rows = [[model] for model in models] if wording.apart else [models]
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, 0.5 + 2.2 * len(rows)), layout="constrained")
        shape = len(rows), len(SEARCH.factors)
        grid = figure.subplots(*shape, sharex="col", sharey="row", squeeze=False)
        for axes, together in zip(grid, rows, strict=True):
            for ax, factor in zip(axes, SEARCH.factors, strict=True):
                own = dependence[dependence["factor"] == factor]
                draw_panel(ax, own[own["model"].isin(together)], models, wording)
            axes[0].set_ylabel(wording.label)
            draw_stderr(axes[-1], wording.scale * stderr[together].max())
        for ax, factor in zip(grid[-1], SEARCH.factors, strict=True):
            ax.set_xlabel(AXES[factor])
        handles = [
            Line2D([], [], color=PALETTE[i], marker=MARKERS[i], label=model)
            for i, model in enumerate(models)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def draw_panel(ax: Axes, own: pd.DataFrame, models: list[str], wording: Wording) -> None:
    """The lines of one factor, side by side; colours and markers are by the place in `models`."""
    shown = own["model"].unique()
    for place, model in enumerate(shown):
        offset = 0.08 * (place - (len(shown) - 1) / 2)
        look = models.index(model)
        draw_line(ax, own[own["model"] == model], PALETTE[look], MARKERS[look], offset, wording)
    levels = own["level"].unique()
    ax.set_xticks(range(len(levels)), levels)
    ax.set_xlim(-0.4, len(levels) - 0.6)


def draw_line(
    ax: Axes, own: pd.DataFrame, color: str, marker: str, offset: float, wording: Wording
) -> None:
    """The means of one model and factor with their intervals, joined where levels are ordered."""
    scale, (name, *unit) = wording.scale, wording.label.removeprefix("mean ").split(" (")
    sign = " %" if unit else ""
    x, mean = np.arange(len(own)) + offset, scale * own["mean"]
    error = [mean - scale * own["low"], scale * own["high"] - mean]
    ordered = own["factor"].iloc[0] != "method"
    style = {"color": color, "marker": marker, "elinewidth": 0.8, "capsize": 1.5, "zorder": 4}
    ax.errorbar(x, mean, yerr=error, linestyle="-" if ordered else "none", **style)
    texts = [
        f"{row.model}, {row.level}\n{name} {scale * row.mean:.2f}{sign}\n"
        f"95 % interval {scale * row.low:.2f} to {scale * row.high:.2f}"
        for row in own.itertuples()
    ]
    note(ax, x, mean, texts)
