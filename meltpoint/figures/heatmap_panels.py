"""Panels of heat maps of a score over two settings, drawn by seaborn."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from meltpoint.figures.axes import plain_ticks, tick
from meltpoint.figures.style import INK, RC
from meltpoint.figures.tooltips import note

PANEL = 1.95, 1.3  # Inches.
# Brightness of red, green and blue. Numbers on colours that are darker than `DARK` are white.
LUMINANCE, DARK = np.array([0.299, 0.587, 0.114]), 0.5
FRAME = {"fill": False, "edgecolor": "#D55E00", "linewidth": 1.6}


@dataclass(frozen=True)
class Heatmap:
    """The columns of a frame that a heat map shows, and how their values are printed.

    value: column of the score. rows, columns: columns whose values have a row or a column of panels. x,
    y: columns of the settings along the axes. best: "max" or "min" to frame the largest or smallest
    value of a row of panels, "" for none. panel: width and height of a panel in inches. x_order,
    y_order: the values along the axes, from the left and from below; sorted by default.
    """

    value: str
    label: str
    rows: str
    columns: str
    x: str
    y: str
    x_label: str
    y_label: str
    digits: int = 1
    colors: str = "cividis"
    logarithmic: bool = False
    best: str = "max"
    panel: tuple[float, float] = PANEL
    x_order: Sequence | None = None
    y_order: Sequence | None = None


def draw_heatmap(frame: pd.DataFrame, spec: Heatmap) -> Figure:
    """Draws all panels; the panels of a row share their colours, and the best of a row is framed.

    A cell without a finite value is blank. A column `tooltip` of the frame, if there is one, holds the
    tooltip of each cell.
    """
    rows, columns = frame[spec.rows].unique(), frame[spec.columns].unique()
    width, height = spec.panel[0] * len(columns) + 1.0, spec.panel[1] * len(rows) + 0.5
    with mpl.rc_context(RC | {"axes.grid": False}):
        figure = Figure((width, height), layout="constrained")
        axes = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for line, row in zip(axes, rows, strict=True):
            draw_row(line, frame[frame[spec.rows] == row], columns, spec)
            line[0].set_ylabel(f"{row}\n{spec.y_label}")
        for ax, column in zip(axes[0], columns, strict=True):
            ax.set_title(column)
        for ax in axes[-1]:
            ax.set_xlabel(spec.x_label)
    return figure


def draw_row(axes: np.ndarray, cells: pd.DataFrame, columns: np.ndarray, spec: Heatmap) -> None:
    """Draws one row of panels and its colour bar."""
    values = cells[spec.value][np.isfinite(cells[spec.value])]
    norm = (LogNorm if spec.logarithmic else Normalize)(values.min(), values.max())
    best = getattr(values, spec.best)() if spec.best else None
    for ax, column in zip(axes, columns, strict=True):
        panel = cells[cells[spec.columns] == column]
        draw_panel(ax, panel, norm, best, spec)
    bar = axes[0].figure.colorbar(
        axes[0].collections[0], ax=list(axes), pad=0.015, fraction=0.025, aspect=14
    )
    bar.set_label(spec.label)
    bar.outline.set_visible(False)
    if spec.logarithmic:
        plain_ticks(bar.ax.yaxis, pd.Series([norm.vmin, norm.vmax]))
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(4))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(tick))


def draw_panel(
    ax: Axes, cells: pd.DataFrame, norm: Normalize, best: float | None, spec: Heatmap
) -> None:
    """Draws the values of one panel as numbers and colours, and a frame around the best."""
    grid = cells.pivot_table(index=spec.y, columns=spec.x, values=spec.value)
    grid = grid.reindex(index=spec.y_order, columns=spec.x_order)
    grid = grid.where(np.isfinite(grid))
    sns.heatmap(
        grid, ax=ax, norm=norm, cmap=spec.colors, cbar=False, annot=True, fmt=f".{spec.digits}f",
        annot_kws={"fontsize": 6.5}, linewidths=0.6, linecolor="white",
    )  # fmt: skip
    # seaborn's white is hard to read on colours of middle brightness.
    colors = ax.collections[0].get_facecolors()[grid.notna().to_numpy().ravel()]
    for text, color in zip(ax.texts, colors, strict=True):
        text.set_color("white" if color[:3] @ LUMINANCE < DARK else INK)
    # seaborn puts the first row on top, and its ticks upright.
    ax.set(xlabel="", ylabel="", ylim=(0, len(grid)))
    ax.tick_params(length=0, rotation=0)
    for cell in cells.to_dict("records"):
        x, y = grid.columns.get_loc(cell[spec.x]), grid.index.get_loc(cell[spec.y])
        note(ax, x + 0.5, y + 0.5, cell.get("tooltip") or tooltip(cell, spec), radius=9)
        if cell[spec.value] == best:
            ax.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, **FRAME))


def tooltip(cell: dict, spec: Heatmap) -> str:
    """Tooltip of a cell: its panel, its place and its value."""
    place = f"{spec.x_label} {cell[spec.x]}, {spec.y_label} {cell[spec.y]}"
    value = f"{spec.label}: {cell[spec.value]:.2f}"
    return f"{cell[spec.rows]}, {cell[spec.columns]}\n{place}\n{value}"
