"""Scatter plots of the parameter search: accuracy over perplexity and over gradients."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from meltpoint.analysis.parameter_search import best_run
from meltpoint.figures.axes import tick
from meltpoint.figures.style import INK, MARKERS, PALETTE, RC
from meltpoint.figures.tooltips import note
from meltpoint.published.parameter_search.read import SEARCH
from meltpoint.published.specs import StudySpec

WIDTH = 7.0
METHOD, (LENGTH, SAMPLES) = SEARCH.method, SEARCH.settings
POINT = {"markersize": 4.2, "markeredgecolor": INK, "markeredgewidth": 0.4, "linestyle": "none"}
STAR = {"marker": "*", "markersize": 10, "markeredgecolor": INK, "markeredgewidth": 0.6}
LIGHTEST = 0.75
TICKS = (10, 15, 20, 30, 50, 100, 150)


def shades(color: str, count: int) -> list[np.ndarray]:
    """The colour in `count` steps from a light tint to itself."""
    base = np.array(to_rgb(color))
    return [base + (1 - base) * tint for tint in np.linspace(LIGHTEST, 0, count)]


def styles(frame: pd.DataFrame) -> dict[tuple, dict]:
    """Colour and marker of each method and length: a hue per method, darker for longer."""
    lengths = sorted(frame[LENGTH].unique())
    return {
        (method, length): {"color": color, "marker": marker}
        for base, marker, method in zip(PALETTE, MARKERS, frame[METHOD].unique(), strict=False)
        for length, color in zip(lengths, shades(base, len(lengths)), strict=True)
    }


def draw_tradeoff(frame: pd.DataFrame) -> Figure:
    """Accuracy over perplexity, a panel per model; the best accuracy is a star."""
    models = frame["model"].unique()
    look = styles(frame)
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, 2.8), layout="constrained")
        axes = figure.subplots(1, len(models), sharey=True)
        for ax, model in zip(axes, models, strict=True):
            runs = frame[frame["model"] == model]
            draw_runs(ax, runs, "ppl", look)
            best = best_run(runs, SEARCH)
            color = look[best[METHOD], best[LENGTH]]["color"]
            ax.plot(best["ppl"], 100 * best["acc_mean"], color=color, **STAR, zorder=6)
            scale_perplexity(ax, runs["ppl"])
            ax.set_title(model)
        axes[0].set_ylabel("mean accuracy (%)")
        draw_stderr(axes[0], 100 * frame["stderr"].mean())
        legend(figure, frame, look, star=True)
    return figure


def draw_runs(ax: Axes, runs: pd.DataFrame, column: str, look: dict) -> None:
    """The runs of a model where the column is finite, in the look of their method and length."""
    for key, own in runs[np.isfinite(runs[column])].groupby([METHOD, LENGTH]):
        ax.plot(own[column], 100 * own["acc_mean"], **look[key], **POINT, zorder=4)
        note(ax, own[column], 100 * own["acc_mean"], [text_of(r) for r in own.to_dict("records")])


def text_of(run: dict) -> str:
    """Tooltip of a run: its settings, accuracy and perplexity."""
    return (
        f"{run['model']}, {run[METHOD]}, length {run[LENGTH]}, {run[SAMPLES]} samples\n"
        f"accuracy {100 * run['acc_mean']:.2f} %, perplexity {run['ppl']:.2f}"
    )


def scale_perplexity(ax: Axes, values: pd.Series) -> None:
    """A logarithmic x axis with ticks at round perplexities."""
    ax.set_xscale("log")
    ax.set_xlabel("perplexity")
    ax.set_xticks([at for at in TICKS if values.min() <= at * 1.05 and at <= values.max()])
    ax.xaxis.set_major_formatter(FuncFormatter(tick))
    ax.xaxis.set_minor_locator(NullLocator())


def draw_stderr(ax: Axes, stderr: float) -> None:
    """The standard error of one run's accuracy as a bar at the lower left."""
    low, _ = ax.get_ylim()
    place = {"transform": ax.get_yaxis_transform()}
    ax.errorbar(0.06, low + 2 * stderr, yerr=stderr, color=INK, capsize=2, elinewidth=0.8, **place)
    style = {"va": "center", "fontsize": 6.5, "color": INK}
    ax.text(0.1, low + 2 * stderr, "± one standard error of a run", **style, **place)


def legend(figure: Figure, frame: pd.DataFrame, look: dict, star: bool = False) -> None:
    """Methods by colour and marker, then lengths by shade."""
    lengths = sorted(frame[LENGTH].unique())
    handles = [
        Line2D([], [], label=method, **look[method, lengths[-1]], **POINT)
        for method in frame[METHOD].unique()
    ]
    handles += [
        Line2D([], [], color=color, marker="o", label=f"{'' if i else 'length '}{length}", **POINT)
        for i, (length, color) in enumerate(zip(lengths, shades(INK, len(lengths)), strict=True))
    ]
    if star:
        handles.append(
            Line2D([], [], color="white", linestyle="none", label="best accuracy", **STAR)
        )
    spacing = {"handletextpad": 0.2, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), **spacing)


def draw_gradients(spec: StudySpec, frame: pd.DataFrame) -> Figure:
    """Accuracy over the gradient measures, models by measures; infinite ones at the right edge."""
    models = frame["model"].unique()
    look = styles(frame)
    with mpl.rc_context(RC):
        figure = Figure((WIDTH, 1.45 * len(models) + 0.7), layout="constrained")
        axes = figure.subplots(len(models), len(SEARCH.gradients), sharex="col", sharey="row")
        for row, model in zip(axes, models, strict=True):
            runs = frame[frame["model"] == model]
            for ax, measure in zip(row, SEARCH.gradients, strict=True):
                draw_runs(ax, runs, measure, look)
                ax.set_xscale("log")
            row[0].set_ylabel(f"{model}\nmean accuracy (%)")
        for ax, measure in zip(axes[-1], SEARCH.gradients, strict=True):
            ax.set_xlabel(spec.words[measure])
            scale_gradient(ax, frame[measure])
        for row, model in zip(axes, models, strict=True):
            for ax, measure in zip(row, SEARCH.gradients, strict=True):
                draw_infinite(ax, frame[frame["model"] == model], measure, look)
        legend(figure, frame, look)
    return figure


def scale_gradient(ax: Axes, values: pd.Series) -> None:
    """Plain ticks where few decades are seen; room at the right where there are infinities."""
    finite = values[np.isfinite(values)]
    low, high = np.log10([finite.min(), finite.max()])
    room = 0.16 if np.isinf(values).any() else 0.06
    ax.set_xlim(10 ** (low - 0.06 * (high - low)), 10 ** (high + room * (high - low)))
    if high - low < 2:
        ax.set_xticks([tick for tick in (2, 5, 10, 20, 50) if low < np.log10(tick) < high + 0.05])
        ax.xaxis.set_major_formatter(FuncFormatter(tick))
    ax.xaxis.set_minor_locator(NullLocator())


def draw_infinite(ax: Axes, runs: pd.DataFrame, measure: str, look: dict) -> None:
    """Runs whose measure is infinite, as points on the right edge under the sign."""
    own = runs[np.isinf(runs[measure])]
    if own.empty:
        return
    edge = ax.get_yaxis_transform()
    for key, part in own.groupby([METHOD, LENGTH]):
        y = 100 * part["acc_mean"]
        ax.plot(
            np.ones(len(part)), y, transform=edge, clip_on=False, **look[key], **POINT, zorder=5
        )
        texts = [f"{text_of(run)}\ninfinite" for run in part.to_dict("records")]
        note(ax, np.ones(len(part)), y, texts, transform=edge)
    ax.annotate("∞", (1, 1), xycoords="axes fraction", ha="center", va="bottom", fontsize=8)
