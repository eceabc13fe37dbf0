"""Ticks: the text of each one, read as a number, is its value, whatever the axis spans."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from meltpoint.figures.axes import limits, scale_bits, scale_x, scale_y, tick
from meltpoint.figures.surface import Surface, color_bar, draw_surface, norm_of
from tests.support.quantized_frames import draw, measured

LOWS = [1e-4, 0.02, 1.0, 5.3, 97.0, 980.0, 6.5e4, 3e6]
DECADES = [0.01, 0.03, 0.1, 0.3, 0.4, 0.69, 0.71, 1.0, 1.39, 1.41, 2.5, 3.39, 3.41, 4.1, 5.3, 8.0]


def number(text: str) -> float:
    """A tick's text as the number that a reader sees."""
    power = re.fullmatch(r"\$(?:(.+)\\times)?10\^\{(-?\d+)\}\$", text)
    if power:
        return float(power[1] or 1) * 10.0 ** int(power[2])
    assert re.fullmatch(r"-?[\d,]+(\.\d+)?", text), f"{text!r} is no number"
    return float(text.replace(",", ""))


def check_ticks(axis, ends: tuple[float, float], fewest: int = 2) -> None:
    """Every tick within the ends is labelled with its value, and no two labels are the same."""
    texts = axis.get_major_formatter().format_ticks(axis.get_majorticklocs())
    seen = {
        value: text
        for value, text in zip(axis.get_majorticklocs(), texts, strict=True)
        if min(ends) <= value <= max(ends)
    }
    assert len(seen) >= fewest
    assert [number(text) for text in seen.values()] == pytest.approx(list(seen), rel=1e-9)
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("decades", DECADES)
@pytest.mark.parametrize("low", LOWS)
@pytest.mark.parametrize("scale", [scale_x, scale_y, scale_bits])
def test_a_tick_says_its_value(scale, low, decades):
    ax = Figure().subplots()
    scale(ax, pd.Series([low, low * 10**decades]))
    ends = ax.get_ylim() if scale is scale_y else ax.get_xlim()
    # Bit widths are labelled one by one: far from 1 to 32 bits there may be few.
    check_ticks(ax.yaxis if scale is scale_y else ax.xaxis, ends, 0 if scale is scale_bits else 2)


@pytest.mark.parametrize("decades", DECADES)
@pytest.mark.parametrize("low", LOWS)
def test_a_tick_of_a_colour_bar_says_its_value(low, decades):
    ppl = np.geomspace(low, low * 10**decades, 4).reshape(2, 2)
    empty = np.full((2, 2), "", dtype=object)
    table = Surface(["a", "b"], np.array([0, 0.5]), np.array([16.0, 4.0]), ppl, ppl, empty)
    figure = Figure()
    ax = figure.subplots()
    norm = norm_of(ppl)
    color_bar(figure, draw_surface(ax, table, norm, ["a", "b"]), ax)
    check_ticks(figure.axes[1].yaxis, (norm.vmin, norm.vmax), 1)


def test_powers_of_ten_have_their_factor():
    values = [0.0, 0.25, 3e-5, 9999.5, 1e4, 3e4, 65250.5, 1e6, 3e7, 1.25e9]
    assert [tick(value) for value in values] == [
        *("0", "0.25", r"$3\times10^{-5}$", "9999.5", "10,000", "30,000", "65,250.5"),
        *("$10^{6}$", r"$3\times10^{7}$", r"$1.25\times10^{9}$"),
    ]


@pytest.mark.parametrize("decades", [0.01, 0.1, 1.0, 4.1, 5.3])
@pytest.mark.parametrize("kind", ["curves", "tradeoff"])
def test_no_label_touches_the_right_edge(kind, decades):
    rows = measured("m", "dense", 16, 5.0)
    steps = (
        [f"wanda@{s}" for s in (0.3, 0.5, 0.7)] if kind == "curves" else ["rtn@4bit", "rtn@8bit"]
    )
    for n, step in enumerate(steps):
        rows += measured("m", step, 9 - n, 5.0 * 10 ** (decades * (n + 1) / len(steps)))
    figure = draw(pd.DataFrame(rows), kind)
    figure.draw_without_rendering()
    inch = figure.dpi
    for ax in figure.axes:
        for text in (*ax.texts, *ax.get_xticklabels()):
            if (
                text.get_visible()
                and text.get_text()
                and text.get_position()[0] <= ax.get_xlim()[1]
            ):
                assert text.get_window_extent().x1 < figure.bbox.x1 - 0.02 * inch, text.get_text()
        for text in ax.texts:
            extent = text.get_window_extent()
            # The name of the dense line is on the right of the axes, and all others within them.
            if text.get_text().startswith("dense"):
                assert extent.x0 > ax.bbox.x1, text.get_text()
            else:
                assert extent.x1 < ax.bbox.x1 - 1, text.get_text()


def test_limits_leave_room_on_both_sides():
    low, high = limits(pd.Series([10.0, 1000.0]), 2)
    assert low < 10
    assert high / 1000 == pytest.approx((10 / low) ** 2)


@pytest.mark.parametrize(
    ("values", "scale"), [([-3.0, -2.0], "linear"), ([0.0, 0.0], "linear"), ([0.0, 5.0], "log")]
)
def test_an_axis_is_logarithmic_where_it_can_show_the_values(values, scale):
    ax = Figure().subplots()
    for scaled in (scale_x, scale_y):
        scaled(ax, pd.Series(values))
    assert (ax.get_xscale(), ax.get_yscale()) == (scale, scale)
