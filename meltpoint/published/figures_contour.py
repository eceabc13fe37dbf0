"""Pruning with quantization: perplexity over both, the best trade-off, and the transition points."""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from meltpoint.figures.axes import scale_x, scale_y, tick
from meltpoint.figures.hover import note
from meltpoint.figures.legend import STAR
from meltpoint.figures.style import INK, RC
from meltpoint.published import frames

NOMINAL = {"FP16": 16, "RTN_INT8": 8, "RTN_INT6": 6}
COLORS = "viridis_r"
FRONT = {"color": "#D55E00", "linewidth": 1.4, "marker": "o", "markersize": 3.2}
FRONT |= {"markerfacecolor": "white", "markeredgewidth": 0.9}


@dataclass(frozen=True)
class Surface:
    """Perplexity [schemes, ratios] with the ratios, and the schemes' bits per weight."""

    name: str
    schemes: list[str]
    ratios: np.ndarray
    bits: np.ndarray
    ppl: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Size in % of dense FP16 [schemes, ratios], without what the source has exchanged."""
        return 100 * np.outer(self.bits / 16, 1 - self.ratios)

    def front(self) -> list[tuple[int, int]]:
        """The cells (scheme, ratio) that no smaller one equals or beats, from the smallest on."""
        places = sorted(np.ndindex(self.ppl.shape), key=lambda p: (self.sizes[p], self.ppl[p]))
        best, found = np.inf, []
        for place in places:
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


def surface(number: int) -> Surface:
    """The cells of Table 8, 9 or 10 on WikiText2, the largest scheme first.

    A scheme's bits per weight are the median of what its published sizes say: a few of them are
    wrong. The sizes of Table 8 are not published; its schemes have their nominal bits.
    """
    cells = frames.combined(number).query("evaluation == 'wikitext2'")
    cells = cells.assign(ratio=cells["level"].astype(float))
    wide = cells.pivot_table(index="settings", columns="ratio", values="value")
    share = 16 / 100 * cells["size"] / (1 - cells["ratio"])
    bits = share.groupby(cells["settings"]).median().fillna(pd.Series(NOMINAL)).reindex(wide.index)
    wide = wide.loc[bits.sort_values(ascending=False).index]
    bits = bits[wide.index].to_numpy(float)
    ratios = wide.columns.to_numpy(float)
    return Surface(cells["method"].iloc[0], list(wide.index), ratios, bits, wide.to_numpy(float))


def contour(number: int, transitions: pd.DataFrame) -> Figure:
    """Left: perplexity over ratio and bits; right: over size. `transitions`: the other curves."""
    table = surface(number)
    own = transitions[transitions["table"] == f"Table {number}"]
    own = own[(own["evaluation"] == "wikitext2") & own["transition"]].set_index("quantization")
    with mpl.rc_context(RC):
        figure = Figure((6.9, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        draw_surface(figure, left, table)
        draw_transitions(left, table, own.reindex(table.schemes))
        draw_front(left, table)
        draw_sizes(right, table)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def draw_surface(figure: Figure, ax: Axes, table: Surface) -> None:
    """Filled contours of log perplexity; dots where it was measured."""
    norm = LogNorm(table.ppl.min(), table.ppl.max())
    levels = np.geomspace(table.ppl.min(), table.ppl.max(), 25)
    filled = ax.contourf(table.ratios, table.bits, table.ppl, levels, norm=norm, cmap=COLORS)
    x, y = np.meshgrid(table.ratios, table.bits)
    ax.plot(x.ravel(), y.ravel(), ".", color="white", markersize=1.6, alpha=0.8)
    says = [say(table, *place) for place in np.ndindex(table.ppl.shape)]
    note(ax, x.ravel(), y.ravel(), says)
    labels = [f"{s} ({b:.1f})" for s, b in zip(table.schemes, table.bits, strict=True)]
    ax.set(
        yscale="log", xlabel=f"fraction removed ({table.name})", ylabel="scheme (bits per weight)"
    )
    ax.set_yticks(table.bits, labels)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(visible=False)
    bar = figure.colorbar(filled, ax=ax, pad=0.02, label="perplexity")
    steps = [v for e in range(4) for v in (1 * 10**e, 2 * 10**e, 5 * 10**e)]
    bar.ax.yaxis.set_major_locator(FixedLocator(steps))
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


def draw_transitions(ax: Axes, table: Surface, own: pd.DataFrame) -> None:
    """The transition point of each scheme that has one, with its interval."""
    ax.plot(own["s0"], table.bits, color=INK, linewidth=0.9, zorder=5)
    ax.hlines(
        table.bits, own["s0_low"], own["s0_high"], color=INK, linewidth=0.8, zorder=5, clip_on=False
    )
    label = "transition, 95 % interval"
    ax.plot(own["s0"], table.bits, color="white", label=label, zorder=6, clip_on=False, **STAR)
    says = [
        f"{r.Index}: transition at {r.s0:.3f}\n95 % interval {r.s0_low:.3f} to {r.s0_high:.3f}"
        for r in own.itertuples()
    ]
    note(ax, own["s0"], table.bits, says)


def draw_sizes(ax: Axes, table: Surface) -> None:
    """A line for each scheme, and the best of all."""
    shades = mpl.colormaps["Blues_r"](np.linspace(0.0, 0.62, len(table.schemes)))
    for i, (scheme, shade) in enumerate(zip(table.schemes, shades, strict=True)):
        ax.plot(table.sizes[i], table.ppl[i], ".-", color=shade, linewidth=0.9, markersize=3)
        note(ax, table.sizes[i], table.ppl[i], [say(table, i, j) for j in range(len(table.ratios))])
        ax.annotate(
            scheme,
            (table.sizes[i, -1], table.ppl[i, -1]),
            xytext=(0, 4),
            textcoords="offset points",
            rotation=90,
            ha="center",
            fontsize=5.5,
            color=shade,
        )
    front = tuple(map(list, zip(*table.front(), strict=True)))
    ax.plot(table.sizes[front], table.ppl[front], zorder=4, **FRONT)
    scale_x(ax, pd.Series(table.sizes.ravel()))
    scale_y(ax, pd.Series(table.ppl.ravel()))
    # Room for the schemes' names.
    ax.set_ylim(top=3 * table.ppl.max())
    ax.set(xlabel="size (% of dense FP16)", ylabel="perplexity")


def say(table: Surface, scheme: int, ratio: int) -> str:
    return (
        f"{table.name} {table.ratios[ratio]:.2f}, {table.schemes[scheme]}\n"
        f"perplexity {table.ppl[scheme, ratio]:g}\nsize {table.sizes[scheme, ratio]:.1f} %"
    )
