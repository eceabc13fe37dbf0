"""Perplexity over pruning and quantization as a surface, and the best trade-off on it."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from meltpoint.figures.axes import NARROW, tick
from meltpoint.figures.tooltips import note

COLORS = "viridis_r"
STEPS = 25
FRONT = {"color": "#D55E00", "linewidth": 1.4, "marker": "o", "markersize": 3.2}
FRONT |= {"markerfacecolor": "white", "markeredgewidth": 0.9}
# The steps of a decade that are labelled, by the decades that a colour bar spans.
LABELLED = {1: (1, 2, 3, 5, 7), 3.5: (1, 2, 5), np.inf: (1,)}


@dataclass(frozen=True)
class Surface:
    """Perplexity [schemes, ratios] with the ratios and the schemes' bits per weight.

    sizes: of each cell, in any unit. says: what the pointer shows of it. A perplexity that is not
    finite is left out.
    """

    schemes: list[str]
    ratios: np.ndarray
    bits: np.ndarray
    ppl: np.ndarray
    sizes: np.ndarray
    says: np.ndarray

    def front(self) -> list[tuple[int, int]]:
        """The cells (scheme, ratio) that no smaller one equals or beats, from the smallest on."""
        known = np.isfinite(self.ppl) & np.isfinite(self.sizes)
        places = [place for place in np.ndindex(self.ppl.shape) if known[place]]
        best, found = np.inf, []
        for place in sorted(places, key=lambda p: (self.sizes[p], self.ppl[p])):
            if self.ppl[place] < best:
                best = self.ppl[place]
                found.append(place)
        return found

    def hull(self) -> list[tuple[int, int]]:
        """Those of the front on its lower convex hull in log size and log perplexity: no mixture of
        two others is better than they are."""
        found = []
        for place in self.front():
            while len(found) > 1 and self.turn(*found[-2:], place) <= 0:
                found.pop()
            found.append(place)
        return found

    def turn(self, *places: tuple[int, int]) -> float:
        """Positive where the way over three cells turns left."""
        a, b, c = (np.log([self.sizes[p], self.ppl[p]]) for p in places)
        return (b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]


def norm_of(ppl: np.ndarray) -> LogNorm:
    """The colours' range: that of the perplexities that are finite."""
    finite = ppl[np.isfinite(ppl)]
    return LogNorm(finite.min(), finite.max())


def draw_surface(ax: Axes, table: Surface, norm: LogNorm, ticks: list[str]) -> ScalarMappable:
    """Filled contours of log perplexity; dots where it was measured. ticks: the schemes' labels."""
    levels = np.geomspace(norm.vmin, norm.vmax, STEPS)
    known = np.ma.masked_invalid(table.ppl)
    filled = ax.contourf(table.ratios, table.bits, known, levels, norm=norm, cmap=COLORS)
    x, y = np.meshgrid(table.ratios, table.bits)
    dots = np.isfinite(table.ppl)
    ax.plot(x[dots], y[dots], ".", color="white", markersize=1.6, alpha=0.8)
    note(ax, x.ravel(), y.ravel(), table.says.ravel())
    ax.set(yscale="log")
    ax.set_yticks(table.bits, ticks)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(visible=False)
    return filled


def color_bar(figure: Figure, filled: ScalarMappable, axes, what: str = "perplexity") -> None:
    """Perplexities beside the axes, in plain numbers."""
    bar = figure.colorbar(filled, ax=axes, pad=0.02, label=what)
    low, high = np.log10([filled.norm.vmin, filled.norm.vmax])
    labelled = next(steps for limit, steps in LABELLED.items() if high - low < limit)
    steps = [k * 10.0**e for e in range(int(low) - 1, int(high) + 1) for k in labelled]
    narrow = high - low < NARROW
    bar.ax.yaxis.set_major_locator(MaxNLocator(6) if narrow else FixedLocator(steps))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(tick))


def draw_front(ax: Axes, table: Surface) -> None:
    """The best cells, and a line through those of the best trade-off."""
    scheme, ratio = map(list, zip(*table.hull(), strict=True))
    line = {"color": FRONT["color"], "linewidth": FRONT["linewidth"], "label": "best trade-off"}
    ax.plot(table.ratios[ratio], table.bits[scheme], zorder=4, **line)
    scheme, ratio = map(list, zip(*table.front(), strict=True))
    label = "cells of lowest perplexity for their size"
    rings = FRONT | {"linestyle": "none", "label": label, "clip_on": False}
    ax.plot(table.ratios[ratio], table.bits[scheme], zorder=5, **rings)
