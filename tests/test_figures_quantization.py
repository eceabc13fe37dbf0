"""Figures of quantization: trade-offs, contours, and methods side by side."""

import re

import numpy as np
import pandas as pd
import pytest

from meltpoint import figures
from meltpoint.analysis.frame import read_published
from meltpoint.drawn import Figure as Section
from meltpoint.errors import MeltpointError
from meltpoint.figures.style import looks
from meltpoint.figures.surface import Surface
from tests.quantized import LADDER, SCHEMES, combined, measured, perplexity_at, quantized


def draw(frame, kind, **changes):
    spec = Section(of="x", **{"value": "ppl", "kind": kind} | changes)
    if spec.published:
        frame = pd.concat([frame, read_published(spec.published, "ppl")], ignore_index=True)
    return figures.draw(kind, frame, None, spec)


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ladder(ax, color):
    """The points of the line of a colour."""
    found = [c.lines[0] for c in ax.containers if c.lines[0].get_color() == color]
    return list(found[0].get_xdata()), list(found[0].get_ydata())


# --- trade-offs ------------------------------------------------------------------------------------


def test_a_tradeoff_lies_over_another_evaluation():
    figure = draw(quantized(), "tradeoff", x="bits", labels={"gptq": "GPTQ"})
    (ax,) = figure.axes
    x, y = ladder(ax, looks(["gptq", "rtn", "nf4"], {})["gptq"][0])
    assert x == [int(level[0]) + 0.25 for level in LADDER]
    assert y == [perplexity_at(bits) for bits in x]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "bits per weight"
    assert texts(figure) == ["GPTQ", "rtn", "nf4", "dense"]
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    assert [float(star.get_xdata()[0]), float(star.get_ydata()[0])] == [16, 5.5]


def test_sizes_are_in_human_units():
    figure = draw(quantized(), "tradeoff", x="bytes")
    assert figure.axes[0].get_xlabel() == "size (kB)"
    assert max(ladder(figure.axes[0], looks(["gptq"], {})["gptq"][0])[0]) == 8.25e6 / 8 / 1e3


def test_over_nominal_bits_a_method_without_a_level_has_those_of_its_name():
    figure = draw(quantized(), "tradeoff")
    x, _ = ladder(figure.axes[0], looks(["gptq", "rtn", "nf4"], {})["nf4"][0])
    assert x == [4]
    assert "dense" not in texts(figure), "it has no nominal bits"
    assert "dense 5.5" in [text.get_text() for text in figure.axes[0].texts]


def test_of_one_method_there_is_a_line_for_each_model_named_by_its_schemes():
    frame = quantized(("a", "b"), ("gguf",), schemes=True)
    figure = draw(frame, "tradeoff", x="bits")
    assert len(figure.axes) == 1
    assert texts(figure) == ["a", "b", "dense"]
    words = [text.get_text() for text in figure.axes[0].texts]
    assert set(words) == {scheme.upper() for scheme in SCHEMES}
    assert len(draw(quantized(("a", "b")), "tradeoff", x="bits").axes) == 2


def test_words_lie_on_nothing():
    for frame in (quantized(), quantized(("a", "b"), ("gguf",), schemes=True)):
        figure = draw(frame, "tradeoff", x="bits")
        figure.draw_without_rendering()
        (ax,) = figure.axes
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) > 4
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :])
            assert ax.bbox.contains(box.x0, box.y0)
            assert ax.bbox.contains(box.x1, box.y1)


def hollow(figure):
    dashed = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in dashed]


def test_published_points_stand_at_the_place_of_ours_of_the_same_level():
    figure = draw(quantized(), "tradeoff", x="bits", published="mpt_quant_ppl")
    assert hollow(figure) == [([2.25, 3.25, 4.25, 8.25], [1784.1625, 7.5768, 5.7459, 5.4739])]
    assert "GPTQ (published)" in texts(figure)


def test_published_models_stand_beside_theirs():
    frame = quantized(("llama2-7b", "gemma"), ("gguf",), schemes=True)
    beside = {"llama2-7b": "LLaMA-2-7B"}
    figure = draw(frame, "tradeoff", published="mpt_gguf_families", beside=beside)
    assert hollow(figure) == [([2, 3, 4, 5, 6, 8], [6.69, 6.34, 6.24, 6.18, 6.17, 6.16])]
    assert "LLaMA-2-7B (published)" in texts(figure)


def test_points_say_what_they_are(tmp_path):
    figures.save(draw(quantized(), "tradeoff", x="bytes"), [tmp_path / "a.svg"])
    said = re.findall(r"<title>([^<]*)</title>", (tmp_path / "a.svg").read_text())
    assert "m, gptq 4-bit\nperplexity 5.660 ± 0.057\nsize (kB): 531.2" in said


def test_bits_far_apart_are_labelled_and_bits_close_together_too():
    for bits in ((2, 3, 4, 16), (11, 12, 15, 32)):
        rows = measured("m", "dense", bits[-1], 5.0)
        for level, at in zip(LADDER, bits, strict=False):
            rows += measured("m", f"rtn@{level}", at, perplexity_at(at))
        figure = draw(pd.DataFrame(rows), "tradeoff", x="bits")
        figure.draw_without_rendering()
        low, high = figure.axes[0].get_xlim()
        assert sum(low <= tick <= high for tick in figure.axes[0].get_xticks()) >= 3


def test_a_tradeoff_without_a_place_is_refused():
    with pytest.raises(MeltpointError, match="No cell of ppl has a value of other to draw it over"):
        draw(quantized(), "tradeoff", x="other")
    pruned = pd.DataFrame(measured("m", "wanda@0.5", 9, 6.0))
    with pytest.raises(MeltpointError, match="No cell of ppl has nominal bits"):
        draw(pruned, "tradeoff")


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


def test_without_margins_there_are_only_the_chains_of_two_steps():
    figure = draw(combined(margins=False), "contour")
    assert dots(figure.axes[0]) == {(s, b) for s in (0.3, 0.5, 0.7) for b in (8.0, 4.0, 3.0)}


def test_bits_may_be_measured():
    figure = draw(combined(), "contour", y="bits")
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["dense (16)", "8-bit (8)", "4-bit (4)", "3-bit (3)"]


def test_what_is_not_there_is_hatched_and_said(tmp_path):
    frame = combined()
    gone = (frame["chain"] == "sparsegpt@0.7+gptq@3bit") & (frame["evaluation"] == "ppl")
    values = ["not_applicable", "no 3-bit kernel", None, np.nan]
    frame.loc[gone, ["status", "reason", "metric", "value"]] = values
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
    assert "not applicable: no 3-bit kernel" in (tmp_path / "a.svg").read_text()


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


def test_a_spread_puts_methods_without_a_level_with_their_bits():
    others = [*measured("m", "int8", 8.0, 5.6), *measured("m", "smoothquant@w8a8", 8.1, 5.7)]
    frame = pd.concat([quantized(), pd.DataFrame(others)], ignore_index=True)
    figure = draw(frame, "spread", x="method")
    found = panels(figure)
    assert list(found) == ["8-bit", "4-bit", "3-bit", "2-bit"]
    places = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert places == ["gptq", "rtn", "nf4", "int8", "smoothquant"]
    for title, methods in (("8-bit", ("int8", "smoothquant")), ("4-bit", ("nf4",))):
        drawn = {float(c.lines[0].get_xdata()[0]) for c in found[title].containers}
        assert {float(places.index(method)) for method in methods} <= drawn


def test_a_spread_is_of_whatever_the_evaluation_measures():
    figure = draw(quantized(), "spread", x="method", value="bytes")
    assert figure.axes[0].get_ylabel() == "size (kB)"
    values = {float(c.lines[0].get_ydata()[0]) for c in panels(figure)["2-bit"].containers}
    assert values == {2.25e6 / 8 / 1e3}
