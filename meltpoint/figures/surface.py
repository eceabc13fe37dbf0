"""Perplexity over pruning and quantization as a surface, with the best trade-off on it."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from meltpoint.figures.axes import NARROW, tick
from meltpoint.figures.style import FAINT, INK
from meltpoint.figures.tooltips import note

COLORS = "viridis_r"
# Largest number of sparsities that are labelled one by one.
FEW = 8
ABSENT = {"facecolor": "#F4F4F4", "edgecolor": "#CFCFCF", "hatch": "////", "linewidth": 0}
STEPS = 25
FRONT = {"color": "#D55E00", "linewidth": 1.4, "marker": "o", "markersize": 3.2}
FRONT |= {"markerfacecolor": "white", "markeredgewidth": 0.9}
# The dot of a cell. It has an edge, so that its half outside of the axes is visible on white.
DOT = {"marker": ".", "color": "white", "markersize": 4.6, "markeredgecolor": INK}
DOT |= {
    "markeredgewidth": 0.25,
    "linestyle": "none",
    "clip_on": False,
    "zorder": 3,
    "label": "cells",
}
# The steps of a decade that are labelled, by the decades that a colour bar spans.
LABELLED = {1: (1, 2, 3, 5, 7), 3.5: (1, 2, 5), np.inf: (1,)}


@dataclass(frozen=True)
class Surface:
    """Perplexities [schemes, sparsities], with the sparsities and the bits per weight of the schemes.

    sizes, tooltips: [schemes, sparsities], sizes in any unit. Perplexities that are not finite are
    left out.
    """

    schemes: list[str]
    sparsities: np.ndarray
    bits: np.ndarray
    ppl: np.ndarray
    sizes: np.ndarray
    tooltips: np.ndarray

    def front(self) -> list[tuple[int, int]]:
        """The cells (scheme, sparsity) with a lower perplexity than all smaller cells, by size."""
        known = np.isfinite(self.ppl) & np.isfinite(self.sizes)
        places = [place for place in np.ndindex(self.ppl.shape) if known[place]]
        best, front = np.inf, []
        for place in sorted(places, key=lambda p: (self.sizes[p], self.ppl[p])):
            if self.ppl[place] < best:
                best = self.ppl[place]
                front.append(place)
        return front

    def hull(self) -> list[tuple[int, int]]:
        """The cells on the lower convex hull of the front in log size and log perplexity.

        No mixture of two other cells is better than a cell of the hull.
        """
        hull = []
        for place in self.front():
            while len(hull) > 1 and self.turn(*hull[-2:], place) <= 0:
                hull.pop()
            hull.append(place)
        return hull

    def turn(self, *places: tuple[int, int]) -> float:
        """A number that is positive if the path over three cells turns left, in logarithms."""
        a, b, c = (np.log([self.sizes[p], self.ppl[p]]) for p in places)
        return (b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]


def norm_of(ppl: np.ndarray) -> LogNorm:
    """Range of the colours, from the smallest to the largest finite perplexity."""
    finite = ppl[np.isfinite(ppl)]
    return LogNorm(finite.min(), finite.max())


def draw_surface(ax: Axes, table: Surface, norm: LogNorm, ticks: list[str]) -> ScalarMappable:
    """Draws filled contours of log perplexity with a dot at each cell. ticks: labels of the schemes."""
    levels = np.geomspace(norm.vmin, norm.vmax, STEPS)
    known = np.ma.masked_invalid(table.ppl)
    filled = ax.contourf(table.sparsities, table.bits, known, levels, norm=norm, cmap=COLORS)
    x, y = np.meshgrid(table.sparsities, table.bits)
    dots = np.isfinite(table.ppl)
    ax.plot(x[dots], y[dots], **DOT)
    note(ax, x.ravel(), y.ravel(), table.tooltips.ravel())
    ax.set(yscale="log")
    ax.set_yticks(table.bits, ticks)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(visible=False)
    return filled


def color_bar(
    figure: Figure, filled: ScalarMappable, axes: Axes | list[Axes], label: str = "perplexity"
) -> None:
    """Draws the colour bar beside the axes, with plain numbers."""
    bar = figure.colorbar(filled, ax=axes, pad=0.02, label=label)
    low, high = np.log10([filled.norm.vmin, filled.norm.vmax])
    labelled = next(steps for limit, steps in LABELLED.items() if high - low < limit)
    steps = [k * 10.0**e for e in range(int(low) - 1, int(high) + 1) for k in labelled]
    narrow = high - low < NARROW
    bar.ax.yaxis.set_major_locator(MaxNLocator(6) if narrow else FixedLocator(steps))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(tick))


def draw_front(ax: Axes, table: Surface) -> None:
    """Draws the front, and a line through its hull."""
    scheme, place = map(list, zip(*table.hull(), strict=True))
    line = {"color": FRONT["color"], "linewidth": FRONT["linewidth"], "label": "best trade-off"}
    ax.plot(table.sparsities[place], table.bits[scheme], zorder=4, clip_on=False, **line)
    scheme, place = map(list, zip(*table.front(), strict=True))
    label = "cells of lowest perplexity for their size"
    rings = FRONT | {"linestyle": "none", "label": label, "clip_on": False}
    ax.plot(table.sparsities[place], table.bits[scheme], zorder=5, **rings)


def draw_panel(ax: Axes, table: Surface, norm: LogNorm, nominal: bool) -> ScalarMappable:
    """Draws the surface on a hatched ground, with its front; returns the contours of a colour bar."""
    ax.patch.set(**ABSENT)
    names = zip(table.schemes, table.bits, strict=True)
    ticks = [s if nominal else f"{s} ({b:.3g})" for s, b in names]
    filled = draw_surface(ax, table, norm, ticks)
    if len(table.sparsities) <= FEW:
        ax.set_xticks(table.sparsities, [f"{s:g}" for s in table.sparsities])
    x, y = np.meshgrid(table.sparsities, table.bits)
    absent = ~np.isfinite(table.ppl)
    if absent.any():
        ax.plot(x[absent], y[absent], "x", color=FAINT, markersize=3.5, clip_on=False)
    draw_front(ax, table)
    return filled


def draw_legend(figure: Figure, ax: Axes, tables: list[Surface]) -> None:
    """Draws the legend below the panels: the front, and the hatching if there is any."""
    handles, labels = ax.get_legend_handles_labels()
    if any(not np.isfinite(table.ppl).all() for table in tables):
        handles.append(Patch(**ABSENT))
        labels.append("not applicable, or not finite")
    columns = max(1, int(figure.get_figwidth() / 2.2))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
