"""Pruning with quantization: perplexity over both, the best trade-off, and the transition points."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meltpoint.analysis.levels import nominal_bits
from meltpoint.data.published.rows import quantization
from meltpoint.figures.axes import scale_x, scale_y
from meltpoint.figures.legend import STAR
from meltpoint.figures.style import INK, RC
from meltpoint.figures.surface import FRONT, Surface, color_bar, draw_front, draw_surface, norm_of
from meltpoint.figures.tooltips import note
from meltpoint.published.phase_transitions import frames


def surface(number: int) -> Surface:
    """The cells of Table 8, 9 or 10 on WikiText2, the largest scheme first.

    A scheme's bits per weight are the median over its published sizes, a few of which are wrong. Sizes
    of Table 8 are not published; its schemes have their nominal bits. Sizes are in % of dense FP16,
    without those that the source has exchanged.
    """
    cells = cells_of(number)
    wide = cells.pivot_table(index="settings", columns="ratio", values="value")
    share = 16 / 100 * cells["size"] / (1 - cells["ratio"])
    nominal = {scheme: nominal_bits(quantization(scheme)[1], "") for scheme in wide.index}
    bits = share.groupby(cells["settings"]).median().fillna(pd.Series(nominal)).reindex(wide.index)
    wide = wide.loc[bits.sort_values(ascending=False).index]
    bits = bits[wide.index].to_numpy(float)
    ratios, ppl = wide.columns.to_numpy(float), wide.to_numpy(float)
    sizes = 100 * np.outer(bits / 16, 1 - ratios)
    says = [
        f"{cells['method'].iloc[0]} {ratios[j]:.2f}, {wide.index[i]}\n"
        f"perplexity {ppl[i, j]:g}\nsize {sizes[i, j]:.1f} %"
        for i, j in np.ndindex(ppl.shape)
    ]
    says = np.array(says, dtype=object).reshape(ppl.shape)
    return Surface(list(wide.index), ratios, bits, ppl, sizes, says)


def cells_of(number: int) -> pd.DataFrame:
    """Cells of Table 8, 9 or 10 on WikiText2, with their ratio as a number."""
    cells = frames.combined(number).query("evaluation == 'wikitext2'")
    return cells.assign(ratio=cells["level"].astype(float))


def contour(number: int, transitions: pd.DataFrame) -> Figure:
    """Left: perplexity over ratio and bits; right: over size. `transitions`: the other curves."""
    table = surface(number)
    own = transitions[transitions["table"] == f"Table {number}"]
    own = own[(own["evaluation"] == "wikitext2") & own["transition"]].set_index("quantization")
    with mpl.rc_context(RC):
        figure = Figure((6.9, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        labels = [f"{s} ({b:.1f})" for s, b in zip(table.schemes, table.bits, strict=True)]
        filled = draw_surface(left, table, norm_of(table.ppl), labels)
        name = cells_of(number)["method"].iloc[0]
        left.set(xlabel=f"fraction removed ({name})", ylabel="scheme (bits per weight)")
        color_bar(figure, filled, left)
        draw_transitions(left, table, own.reindex(table.schemes))
        draw_front(left, table)
        draw_sizes(right, table)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


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
        note(ax, table.sizes[i], table.ppl[i], table.tooltips[i])
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
