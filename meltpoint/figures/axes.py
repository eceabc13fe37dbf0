"""Axes that figures share: their places, scales and tick labels."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from meltpoint.figures.panels import ACROSS, grid

# Decades of an axis up to which round steps of a decade are too few for its ticks.
NARROW = 0.4
# Usual bit widths, and the number of them that must be in range to be the ticks.
BITS = (1, 2, 3, 4, 5, 6, 8, 16, 32)
SEEN = 3
# Numbers of this size or more are written as powers of ten.
PLAIN = 1e6
# The steps of a decade that are labelled, by the decades that an axis spans.
LABELLED = {0.7: (1, 2, 3, 5, 7), 1.4: (1, 2, 5), 3.4: (1, 3), np.inf: (1,)}


def in_rows(figure: Figure, count: int, **shared: bool) -> list[Axes]:
    """`count` axes in rows of `ACROSS`; the lowest one of each column has its tick labels."""
    axes = figure.subplots(*grid(count), squeeze=False, **shared)
    for ax in axes.flat[count:]:
        ax.remove()
    for ax in lowest(kept := list(axes.flat[:count])):
        ax.tick_params(axis="x", labelbottom=True)
    return kept


def lowest(axes: list[Axes]) -> list[Axes]:
    """The axes of the lowest row."""
    return axes[-ACROSS:]


def leftmost(axes: list[Axes]) -> list[Axes]:
    """The axes of the left column."""
    return axes[::ACROSS]


def scale_y(ax: Axes, values: pd.Series) -> None:
    """Makes the y axis logarithmic with plain numbers, and leaves room above for signs at the edge.

    Values of 0, such as the dense model's divergence from itself, are not shown. The axis stays linear
    if a value is below 0, such as a coherence, or if none is above 0.
    """
    if not has_logarithms(values):
        return
    values = values[values > 0]
    ax.set_yscale("log")
    ax.set_ylim(limits(values, 2))
    plain_ticks(ax.yaxis, values)


def scale_x(ax: Axes, values: pd.Series) -> None:
    """Makes the x axis logarithmic with plain numbers, for the values for which `scale_y` does so."""
    if not has_logarithms(values):
        return
    values = values[values > 0]
    ax.set_xscale("log")
    ax.set_xlim(limits(values, 1))
    plain_ticks(ax.xaxis, values)


def has_logarithms(values: pd.Series) -> bool:
    """True if a logarithmic axis can show the values: some are above 0, and none is below."""
    return bool((values > 0).any() and not (values < 0).any())


def scale_bits(ax: Axes, values: pd.Series) -> None:
    """Makes the x axis logarithmic; its ticks are the usual bit widths if enough are in range."""
    scale_x(ax, values)
    seen = sum(values.min() <= bits <= values.max() for bits in BITS)
    ax.xaxis.set_major_locator(FixedLocator(BITS) if seen >= SEEN else MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(tick))


def limits(values: pd.Series, above: float) -> tuple[float, float]:
    """Limits of a logarithmic axis: the values' range with a margin, `above` times as large on top."""
    low, high = np.log10([values.min(), values.max()])
    margin = 0.06 * max(high - low, 0.3)
    return 10 ** (low - margin), 10 ** (high + above * margin)


def plain_ticks(axis: Axis, values: pd.Series) -> None:
    """Labels some steps of each decade, such as 1, 2 and 5; more if the values span few decades."""
    span = np.log10(values.max() / values.min())
    labelled = next(steps for limit, steps in LABELLED.items() if span < limit)
    # On a span this narrow the round steps of a decade may give a single tick.
    axis.set_major_locator(LogLocator(subs=labelled) if span > NARROW else MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(tick))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def tick(value: float, _position: int | None = None) -> str:
    """Text of a tick, its exact value: 0.25, 3000, 30,000 or 3×10⁷ (as mathtext)."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.10g}"
    if 1e4 <= abs(value) < PLAIN:
        return f"{value:,.10g}"
    mantissa, exponent = f"{value:.9e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    mantissa = f"{float(mantissa):.10g}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa}\times{power}$"
