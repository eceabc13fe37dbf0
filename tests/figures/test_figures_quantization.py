"""Figures of quantization: contours, and methods side by side."""

import numpy as np
import pandas as pd
import pytest

from meltpoint import figures
from meltpoint.errors import MeltpointError
from meltpoint.figures.surface import Surface
from tests.support.quantized_frames import absent, combined, draw, measured, quantized, texts

# --- contours --------------------------------------------------------------------------------------


def dots(ax):
    (line,) = [line for line in ax.lines if line.get_marker() == "."]
    return set(zip(*map(list, line.get_data()), strict=True))


def test_a_contour_has_the_margins_and_a_dot_for_each_cell():
    figure = draw(combined(), "contour", labels={"sparsegpt": "SparseGPT", "gptq": "GPTQ"})
    ax = figure.axes[0]
    assert dots(ax) == {(s, b) for s in (0.0, 0.3, 0.5, 0.7) for b in (16.0, 8.0, 4.0, 3.0)}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["dense", "8-bit", "4-bit", "3-bit"]
    assert ax.get_xlabel() == "sparsity (SparseGPT)"
    assert ax.get_ylabel() == "GPTQ: nominal bits per weight"


def test_nothing_of_a_contour_is_cut_at_the_edge_of_its_axes():
    (ax, _) = draw(combined(), "contour").axes
    assert len(ax.lines) == 3, "the cells, the front and its line"
    assert not [line.get_label() for line in ax.lines if line.get_clip_on()]


def test_without_margins_there_are_only_the_chains_of_two_steps():
    figure = draw(combined(margins=False), "contour")
    assert dots(figure.axes[0]) == {(s, b) for s in (0.3, 0.5, 0.7) for b in (8.0, 4.0, 3.0)}


def test_bits_may_be_measured():
    figure = draw(combined(), "contour", y="bits")
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["dense (16)", "8-bit (8)", "4-bit (4)", "3-bit (3)"]


def test_what_is_not_there_is_hatched_and_said(tmp_path):
    frame = absent(combined(), "sparsegpt@0.7+gptq@3bit")
    infinite = (frame["chain"] == "sparsegpt@0.7+gptq@4bit") & (frame["evaluation"] == "ppl")
    frame.loc[infinite, "value"] = np.inf
    figure = draw(frame, "contour")
    assert dots(figure.axes[0]) == {
        (s, b) for s in (0.0, 0.3, 0.5, 0.7) for b in (16.0, 8.0, 4.0, 3.0)
    } - {(0.7, 3.0), (0.7, 4.0)}
    (crosses,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert list(crosses.get_ydata()) == [4, 3]
    assert "not applicable, or not finite" in texts(figure)
    figures.save(figure, [tmp_path / "a.svg"])
    assert "not applicable: no 2-bit kernel" in (tmp_path / "a.svg").read_text()


def test_a_panel_for_each_model_with_the_same_colours():
    figure = draw(combined(models=("a", "b")), "contour")
    assert [ax.get_title() for ax in figure.axes[:2]] == ["a", "b"]
    figure.draw_without_rendering()
    assert figure.axes[0].get_window_extent().width > 150


def test_a_contour_needs_two_of_each():
    frame = combined(margins=False)
    one = frame[~frame["chain"].str.contains(r"0\.5|0\.7")]
    with pytest.raises(
        MeltpointError, match="needs two sparsities of sparsegpt and two bit widths"
    ):
        draw(one, "contour")


def test_the_front_leaves_out_what_is_not_finite():
    ppl = np.array([[5.0, np.nan], [6.0, 7.0]])
    sizes = np.array([[16.0, 8.0], [4.0, 2.0]])
    says = np.full((2, 2), "", dtype=object)
    table = Surface(["a", "b"], np.array([0, 0.5]), np.array([16, 4]), ppl, sizes, says)
    assert table.front() == [(1, 1), (1, 0), (0, 0)]


# --- methods side by side --------------------------------------------------------------------------


def panels(figure):
    return {ax.get_title(): ax for ax in figure.axes}


def means(ax):
    """Places and values of the means in a panel of a spread."""
    points = [line.get_xydata() for line in ax.lines if line.get_marker() == "o"]
    return [(x, y) for line in points for x, y in line if np.isfinite(y)]


def test_a_spread_puts_methods_without_a_level_with_their_bits():
    others = [*measured("m", "int8", 8.0, 5.6), *measured("m", "smoothquant@w8a8", 8.1, 5.7)]
    frame = pd.concat([quantized(), pd.DataFrame(others)], ignore_index=True)
    figure = draw(frame, "spread", x="method")
    found = panels(figure)
    assert list(found) == ["8-bit", "4-bit", "3-bit", "2-bit"]
    places = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert places == ["gptq", "rtn", "nf4", "int8", "smoothquant"]
    drawn = {title: {places[round(x)] for x, _ in means(ax)} for title, ax in found.items()}
    swept = {"gptq", "rtn"}
    assert drawn == {
        **{"8-bit": {*swept, "int8", "smoothquant"}, "4-bit": {*swept, "nf4"}},
        **{"3-bit": swept, "2-bit": swept},
    }


def test_a_spread_says_what_does_not_apply_and_nothing_of_what_was_not_asked(tmp_path):
    frame = absent(quantized(), "gptq@2bit")
    frame.loc[(frame["chain"] == "rtn@3bit") & (frame["evaluation"] == "ppl"), "value"] = np.inf
    figure = draw(frame, "spread", x="method")
    words = {t: [w.get_text() for w in ax.texts] for t, ax in panels(figure).items()}
    assert words == {
        **{"8-bit": [], "4-bit": ["dense\n5.5"], "3-bit": ["∞"]},
        "2-bit": ["N/A"],
    }
    assert panels(figure)["2-bit"].texts[0].get_position()[0] == 0
    figures.save(figure, [tmp_path / "a.svg"])
    assert "no 2-bit kernel" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("dense", [4.3, 5.5, 7.0])
def test_a_sign_below_does_not_lie_on_the_dense_line(dense):
    frame = absent(quantized(), "gptq@4bit")
    frame.loc[(frame["chain"] == "dense") & (frame["evaluation"] == "ppl"), "value"] = dense
    figure = draw(frame, "spread", x="method", levels=["4bit"])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    (sign,) = [text for text in ax.texts if text.get_text() == "N/A"]
    box = sign.get_window_extent()
    for line in (line for line in ax.lines if line.get_linestyle() == "--"):
        _, y = ax.transData.transform((0, line.get_ydata()[0]))
        assert not box.y0 < y < box.y1
    assert ax.bbox.contains(box.x0, box.y0)


def test_a_spread_is_of_whatever_the_evaluation_measures():
    figure = draw(quantized(), "spread", x="method", value="bytes")
    assert figure.axes[0].get_ylabel() == "size (kB)"
    assert {y for _, y in means(panels(figure)["2-bit"])} == {2.25e6 / 8 / 1e3}
