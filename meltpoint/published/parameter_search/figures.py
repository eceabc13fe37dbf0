"""Heatmaps of the parameter search: calibration length by number of samples."""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from meltpoint.analysis.parameter_search import GRID
from meltpoint.figures.style import INK, RC
from meltpoint.figures.tooltips import note

PANEL = 1.95, 1.3  # Inches.
CELL = {"shading": "nearest", "edgecolor": "white", "linewidth": 0.6}
TICKS = (10, 15, 20, 30, 50, 100, 150)
DARK = 0.5  # Luminance below which a cell's text is white.


@dataclass(frozen=True)
class Measure:
    """What a heatmap shows: a column, a factor for print, its name, decimals, colours, the best."""

    column: str
    scale: float
    label: str
    digits: int
    colors: str
    logarithmic: bool
    best: str


ACCURACY = Measure("acc_mean", 100, "mean accuracy (%)", 1, "cividis", False, "max")
PERPLEXITY = Measure("ppl", 1, "perplexity", 1, "cividis_r", True, "min")


def draw_heatmap(frame: pd.DataFrame, measure: Measure) -> Figure:
    """Models by methods; the three panels of a model share their colours; its best run is framed."""
    models, methods = frame["model"].unique(), frame["pruning_method"].unique()
    width, height = PANEL[0] * len(methods) + 1.0, PANEL[1] * len(models) + 0.5
    with mpl.rc_context(RC | {"axes.grid": False}):
        figure = Figure((width, height), layout="constrained")
        axes = figure.subplots(len(models), len(methods), sharex=True, sharey=True, squeeze=False)
        for row, model in zip(axes, models, strict=True):
            draw_model(row, frame[frame["model"] == model], methods, measure)
            row[0].set_ylabel(f"{model}\nsamples")
        for ax, method in zip(axes[0], methods, strict=True):
            ax.set_title(method)
        for ax in axes[-1]:
            ax.set_xlabel("calibration length (tokens)")
    return figure


def draw_model(row: np.ndarray, runs: pd.DataFrame, methods, measure: Measure) -> None:
    """One row of panels and its colour bar."""
    values = measure.scale * runs[measure.column]
    norm = (LogNorm if measure.logarithmic else Normalize)(values.min(), values.max())
    best = getattr(values, measure.best)()
    image = None
    for ax, method in zip(row, methods, strict=True):
        own = runs[runs["pruning_method"] == method]
        grid = measure.scale * own.pivot_table(
            index=GRID[1], columns=GRID[0], values=measure.column
        )
        places = range(grid.shape[1]), range(grid.shape[0])
        image = ax.pcolormesh(*places, grid, cmap=measure.colors, norm=norm, **CELL)
        write_cells(ax, grid, image, measure, best, f"{runs['model'].iloc[0]}, {method}")
        ax.set_xticks(places[0], grid.columns)
        ax.set_yticks(places[1], grid.index)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    bar = row[0].figure.colorbar(image, ax=list(row), pad=0.015, fraction=0.025, aspect=14)
    bar.set_label(measure.label)
    bar.outline.set_visible(False)
    if measure.logarithmic:
        bar.set_ticks([tick for tick in TICKS if norm.vmin <= tick <= norm.vmax])
        bar.ax.yaxis.set_major_formatter(FuncFormatter(plain))
        bar.ax.yaxis.set_minor_locator(NullLocator())
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def plain(value: float, _position: int) -> str:
    return f"{value:g}"


def write_cells(ax: Axes, grid: pd.DataFrame, image, measure: Measure, best: float, title: str):
    """Each cell's number, and a frame around the best."""
    for y, samples in enumerate(grid.index):
        for x, length in enumerate(grid.columns):
            value = grid.iloc[y, x]
            color = "white" if luminance(image.to_rgba(value)) < DARK else INK
            style = {"ha": "center", "va": "center", "fontsize": 6.5, "color": color}
            ax.text(x, y, f"{value:.{measure.digits}f}", **style)
            text = f"{title}\nlength {length}, {samples} samples\n{measure.label}: {value:.2f}"
            note(ax, x, y, text, radius=9)
            if value == best:
                frame = {"fill": False, "edgecolor": "#D55E00", "linewidth": 1.6}
                ax.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, **frame))


def luminance(color) -> float:
    """Perceived brightness of an RGBA colour, from 0 to 1."""
    return float(np.dot(color[:3], [0.299, 0.587, 0.114]))
