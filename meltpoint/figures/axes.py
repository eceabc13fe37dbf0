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

NARROW = 0.4
BITS = (1, 2, 3, 4, 5, 6, 8, 16, 32)
SEEN = 3
# From here on numbers are written as powers of ten.
PLAIN = 1e6
# The steps of a decade that are labelled, by the decades that an axis spans.
LABELLED = {0.7: (1, 2, 3, 5, 7), 1.4: (1, 2, 5), 3.4: (1, 3), np.inf: (1,)}


def in_rows(figure: Figure, count: int, **shared: bool) -> list[Axes]:
    """So many axes in rows of `ACROSS`; the lowest one of each column has its tick labels."""
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

    Values of 0, such as the dense model's divergence from itself, are not seen. The axis stays plain
    where a value is below 0, such as a coherence, or none is above.
    """
    if not has_logarithms(values):
        return
    values = values[values > 0]
    ax.set_yscale("log")
    ax.set_ylim(limits(values, 2))
    plain_ticks(ax.yaxis, values)


def scale_x(ax: Axes, values: pd.Series) -> None:
    """Makes the x axis logarithmic with plain numbers; it stays plain where `scale_y` leaves y so."""
    if not has_logarithms(values):
        return
    values = values[values > 0]
    ax.set_xscale("log")
    ax.set_xlim(limits(values, 1))
    plain_ticks(ax.xaxis, values)


def has_logarithms(values: pd.Series) -> bool:
    """True where a logarithmic axis can show values: some are above 0, and none is below."""
    return bool((values > 0).any() and not (values < 0).any())


def scale_bits(ax: Axes, values: pd.Series) -> None:
    """Makes the x axis logarithmic; the usual bit widths are labelled if enough of them are seen."""
    scale_x(ax, values)
    seen = sum(values.min() <= bits <= values.max() for bits in BITS)
    ax.xaxis.set_major_locator(FixedLocator(BITS) if seen >= SEEN else MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(tick))


def limits(values: pd.Series, above: float) -> tuple[float, float]:
    """Limits of an axis: what the values span, with a margin that is `above` times as large above."""
    low, high = np.log10([values.min(), values.max()])
    margin = 0.06 * max(high - low, 0.3)
    return 10 ** (low - margin), 10 ** (high + above * margin)


def plain_ticks(axis: Axis, values: pd.Series) -> None:
    """Labels at 1, 2, 5 or 1, 3 of each decade: the more, the fewer decades the values span."""
    span = np.log10(values.max() / values.min())
    labelled = next(steps for limit, steps in LABELLED.items() if span < limit)
    # Of a span this narrow a decade's round steps may show one alone.
    axis.set_major_locator(LogLocator(subs=labelled) if span > NARROW else MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(tick))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def tick(value: float, _position: int | None = None) -> str:
    """Text of a tick, whose value it is exactly: 0.25, 3000, 30,000 or 3×10⁷ (as mathtext)."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.10g}"
    if 1e4 <= abs(value) < PLAIN:
        return f"{value:,.10g}"
    mantissa, exponent = f"{value:.9e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    mantissa = f"{float(mantissa):.10g}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa}\times{power}$"
