"""Panels of horizontal bars of changes, drawn by seaborn."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator

from meltpoint.figures.style import FAINT, INK, PALETTE, RC
from meltpoint.figures.tooltips import note

WIDTH, ROW = 7.0, 0.19
COLORS = {"higher": PALETTE[0], "lower": PALETTE[1]}
OTHER = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": INK, "markersize": 4}
OTHER |= {"markeredgewidth": 0.8, "linestyle": "none"}
INTERVAL = {"fmt": "none", "ecolor": INK, "elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7}
WORDS = {"ha": "center", "va": "center", "fontsize": 6.5, "color": FAINT}
WORDS |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
# Right end of the column of printed values, as a fraction of a panel's width from its left.
VALUES_AT = 1.18


def draw_bars(
    bars: pd.DataFrame,
    rows: list[str],
    axis: str,
    interval: str = "",
    other: str = "",
    width: float = WIDTH,
    step: float | None = None,
    digits: int = 1,
) -> Figure:
    """Draws bars of changes, with their values in a column at the right of each panel.

    bars: frame with the columns panel, row, value, half_width (of the interval, or NaN), other (a
    second value, drawn as a hollow diamond, or NaN) and tooltip. rows: all rows from the top; a row
    without a bar is "not applicable". axis: label of the x axis. interval, other: their names in the
    legend. width: of the figure in inches. step: distance of ticks along x; matplotlib chooses it by
    default. digits: number of digits after the point of printed values.
    """
    panels = list(dict.fromkeys(bars["panel"]))
    with mpl.rc_context(RC):
        figure = Figure((width, ROW * len(rows) + 0.9), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=True):
            draw_panel(ax, bars[bars["panel"] == panel], rows, digits)
            ax.set_title(panel)
        axes[0].xaxis.set_major_locator(MultipleLocator(step) if step else MaxNLocator(4))
        axes[0].set_ylim(len(rows) - 0.4, -0.6)
        axes[len(axes) // 2].set_xlabel(axis)
        draw_legend(figure, interval, other if bars["other"].notna().any() else "")
    return figure


def draw_panel(ax: Axes, bars: pd.DataFrame, rows: list[str], digits: int) -> None:
    """Draws the bars of one panel, with intervals, second values and printed values."""
    direction = pd.Series(np.where(bars["value"] >= 0, "higher", "lower"), index=bars.index)
    style = {"width": 0.66, "alpha": 0.85, "linewidth": 0, "saturation": 1, "dodge": False}
    sns.barplot(
        bars.assign(direction=direction), x="value", y="row", order=rows, hue="direction",
        hue_order=list(COLORS), palette=COLORS, legend=False, errorbar=None, ax=ax, **style,
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    places, values = bars["row"].map(rows.index).to_numpy(), bars["value"].to_numpy()
    known = np.isfinite(bars["half_width"]).to_numpy()
    if known.any():
        ax.errorbar(values[known], places[known], xerr=bars["half_width"][known], **INTERVAL)
    ax.axvline(0, color=INK, linewidth=0.6)
    other = bars["other"].notna().to_numpy()
    ax.plot(bars["other"][other], places[other], **OTHER, zorder=5)
    beside = {"xycoords": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
    for place, value in zip(places, values, strict=True):
        printed = f"{value:+.{digits}f}".replace("-", "−")
        ax.annotate(printed, (VALUES_AT, place), **beside, fontsize=6.5, annotation_clip=False)
    for place in set(range(len(rows))) - set(places):
        ax.text(0.5, place, "not applicable", transform=ax.get_yaxis_transform(), **WORDS)
    note(ax, values, places, list(bars["tooltip"]))
    ax.grid(axis="x")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def draw_legend(figure: Figure, interval: str, other: str) -> None:
    """Draws the legend below the panels: the two directions, and the signs in use."""
    handles: list = [Patch(color=c, alpha=0.85, label=words) for words, c in COLORS.items()]
    if interval:
        handles.append(Line2D([], [], color=INK, linewidth=0.8, label=interval))
    if other:
        handles.append(Line2D([], [], label=other, **OTHER))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
