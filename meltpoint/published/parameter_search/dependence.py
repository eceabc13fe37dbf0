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
    """What the target is called on the axis, and what its values are multiplied by there."""

    label: str
    scale: float


ACCURACY = Wording("mean accuracy (%)", 100)


def draw_dependence(dependence: pd.DataFrame, stderr: float, wording: Wording = ACCURACY) -> Figure:
    """Partial dependence by factor: a line per model with its interval, and the noise of one run."""
    scale = wording.scale
    models = dependence["model"].unique()
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, 2.7), layout="constrained")
        axes = figure.subplots(1, len(SEARCH.factors), sharey=True)
        for ax, factor in zip(axes, SEARCH.factors, strict=True):
            own = dependence[dependence["factor"] == factor]
            for place, model in enumerate(models):
                offset = 0.08 * (place - (len(models) - 1) / 2)
                line = own[own["model"] == model]
                draw_line(ax, line, PALETTE[place], MARKERS[place], offset, wording)
            levels = own["level"].unique()
            ax.set_xticks(range(len(levels)), levels)
            ax.set_xlim(-0.4, len(levels) - 0.6)
            ax.set_xlabel(AXES[factor])
        axes[0].set_ylabel(wording.label)
        draw_stderr(axes[-1], scale * stderr)
        handles = [
            Line2D([], [], color=PALETTE[i], marker=MARKERS[i], label=model)
            for i, model in enumerate(models)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


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
