"""Trade-offs: perplexity over what a model weighs, with what is published beside."""

import re

import numpy as np
import pandas as pd
import pytest

from meltpoint import figures
from meltpoint.analysis.frame import read_published
from meltpoint.errors import MeltpointError
from meltpoint.figures.style import looks
from tests.support.quantized_frames import (
    LADDER,
    SCHEMES,
    absent,
    combined,
    draw,
    measured,
    perplexity_at,
    quantized,
    texts,
)


def ladder(ax, color):
    """The points of the line of a colour."""
    found = [c.lines[0] for c in ax.containers if c.lines[0].get_color() == color]
    return list(found[0].get_xdata()), list(found[0].get_ydata())


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


def test_a_dense_model_far_from_all_others_is_named_beside_the_axis():
    frame = quantized()
    frame.loc[(frame["chain"] == "dense") & (frame["evaluation"] == "bits"), "value"] = 64
    figure = draw(frame, "tradeoff", x="bits")
    (ax,) = figure.axes
    assert not [line for line in ax.lines if line.get_marker() == "*"]
    assert "dense" not in texts(figure)
    assert "dense\n5.5\nat 64" in [text.get_text() for text in ax.texts]
    assert ax.get_xlim()[1] < 10


def test_points_have_the_errors_of_their_paired_differences():
    frame = quantized(methods=("gptq",)).assign(difference_stderr=0.25)
    (ax,) = draw(frame, "tradeoff", x="bits").axes
    first = ax.containers[0].lines[2][0].get_segments()
    assert [np.ptp(segment[:, 1]) for segment in first] == pytest.approx([0.5] * len(LADDER))


def test_a_line_joins_levels_only_where_they_are_in_order():
    frame = quantized(methods=("gptq", "rtn"))
    late = (frame["chain"] == "rtn@3bit") & (frame["evaluation"] == "bits")
    frame.loc[late, "value"] = 9.0
    (ax,) = draw(frame, "tradeoff", x="bits").axes
    joined = {c.get_label(): c.lines[0].get_linestyle() for c in ax.containers}
    assert joined == {"gptq": "-", "rtn": "None", "nf4": "-"}


def test_sizes_are_in_human_units():
    figure = draw(quantized(), "tradeoff", x="bytes")
    assert figure.axes[0].get_xlabel() == "size (kB)"
    assert max(ladder(figure.axes[0], looks(["gptq"], {})["gptq"][0])[0]) == 8.25e6 / 8 / 1e3


def test_over_nominal_bits_a_method_without_a_level_has_those_of_its_name():
    figure = draw(quantized(), "tradeoff")
    x, _ = ladder(figure.axes[0], looks(["gptq", "rtn", "nf4"], {})["nf4"][0])
    assert x == [4]
    assert "dense" not in texts(figure), "it has no nominal bits"
    assert "dense\n5.5" in [text.get_text() for text in figure.axes[0].texts]


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
        for place, (text, box) in enumerate(zip(ax.texts, boxes, strict=True)):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :])
            # The name of the dense line stands beside the axes.
            is_dense = text.get_text().startswith("dense")
            assert is_dense == (box.x0 > ax.bbox.x1)
            within = figure.bbox if is_dense else ax.bbox
            assert within.contains(box.x0, box.y0)
            assert within.contains(box.x1, box.y1)


def hollow(figure):
    return hollow_of(figure.axes[0])


def hollow_of(ax):
    dashed = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    found = [(list(line.get_xdata()), list(line.get_ydata())) for line in dashed]
    return [(x, y) for x, y in found if x]


def test_published_points_stand_at_the_place_of_ours_of_the_same_level():
    figure = draw(quantized(), "tradeoff", x="bits", published="mpt_quant_ppl")
    assert hollow(figure) == [([2.25, 3.25, 4.25, 8.25], [1784.1625, 7.5768, 5.7459, 5.4739])]
    assert "GPTQ (published)" in texts(figure)


def test_published_points_stand_beside_the_model_that_they_are_of():
    figure = draw(
        quantized(("a", "b")),
        "tradeoff",
        **{"x": "bits", "published": "mpt_quant_ppl", "published_model": "b"},
    )
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert [len(hollow_of(ax)) for ax in figure.axes] == [0, 1]


def test_published_points_of_one_method_stand_beside_the_line_of_their_model():
    frame = quantized(("a", "b"), ("gptq",))
    frame = frame[frame["method"] != "nf4"]
    said = {"x": "bits", "published": "mpt_quant_ppl", "published_model": "b"}
    figure = draw(frame, "tradeoff", **said)
    (line,) = [x for x in figure.axes[0].lines if x.get_markerfacecolor() == "white"]
    assert line.get_color() == looks(["a", "b"], {})["b"][0]


def test_published_curves_stand_beside_the_model_that_they_are_of():
    rows = [row for m in "ab" for row in measured(m, "dense", 16, 5)]
    for model in "ab":
        for sparsity in (0.3, 0.5, 0.7):
            rows += measured(model, f"wanda@{sparsity}", 9, 5 + sparsity)
    said = {"published": "mpt_unstructured_ppl", "published_model": "a"}
    figure = draw(pd.DataFrame(rows), "curves", **said)
    assert [len(hollow_of(ax)) for ax in figure.axes[:2]] == [1, 0]


def test_where_none_of_ours_applies_nothing_published_is_placed():
    """The method that is published has no cell on the model that it was published of."""
    frame = quantized(("a", "b"))
    for level in LADDER:
        frame = absent(frame, f"gptq@{level}", "a")
    said = {"x": "bits", "published": "mpt_quant_ppl", "published_model": "a"}
    figure = draw(frame, "tradeoff", **said)
    assert [len(hollow_of(ax)) for ax in figure.axes] == [0, 0]
    assert not [text for text in texts(figure) if "published" in text]


def test_what_has_no_place_stretches_no_axis():
    """GPTQ's published 1784 at 2 bits, where ours was not measured."""
    frame = quantized()
    frame = frame[frame["chain"] != "gptq@2bit"]
    figure = draw(frame, "tradeoff", x="bits", published="mpt_quant_ppl")
    assert max(hollow(figure)[0][1]) == 7.5768
    assert figure.axes[0].get_ylim()[1] < 20
    unplaced = frame["chain"].eq("rtn@2bit") & frame["evaluation"].eq("bits")
    again = draw(frame[~unplaced], "tradeoff", x="bits")
    assert again.axes[0].get_ylim()[1] < 10 < figure.axes[0].get_ylim()[1]


def test_panels_of_a_tradeoff_stand_in_rows_of_three():
    figure = draw(quantized(tuple("abcd")), "tradeoff", x="bits", width=2.6)
    assert figure.get_figwidth() == pytest.approx(3 * 2.6)
    figure.draw_without_rendering()
    tops = [round(ax.get_window_extent().y1) for ax in figure.axes]
    assert len(figure.axes) == 4
    assert tops[0] == tops[1] == tops[2] > tops[3]
    labelled = [
        any(t.label1.get_visible() for t in ax.xaxis.get_major_ticks()) for ax in figure.axes
    ]
    assert labelled == [False, True, True, True]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", *["bits per weight"] * 3]


@pytest.mark.parametrize(
    ("kind", "said"), [("tradeoff", {"x": "bits"}), ("spread", {"x": "method"})]
)
def test_llama_cpps_perplexity_is_called_so(kind, said, tmp_path):
    figure = draw(quantized(), kind, value="llama", **said)
    assert figure.axes[0].get_ylabel() == "perplexity (llama.cpp)"


def test_llama_cpps_perplexity_is_called_so_by_the_pointer_and_the_colours(tmp_path):
    for kind, frame, said in (
        ("tradeoff", quantized(), {"x": "bits"}),
        ("contour", combined(), {}),
    ):
        figure = draw(frame, kind, value="llama", **said)
        figures.save(figure, [tmp_path / "a.svg"])
        assert "\nperplexity (llama.cpp) " in (tmp_path / "a.svg").read_text()
    assert figure.axes[-1].get_ylabel() == "perplexity (llama.cpp)"
    rows = [row for s in (0.3, 0.5) for row in measured("m", f"wanda@{s}", 9, 5 + s)]
    curves = draw(pd.DataFrame(rows), "curves", value="llama")
    assert curves.axes[0].get_ylabel() == "perplexity (llama.cpp)"


def test_published_models_stand_beside_theirs():
    frame = quantized(("llama2-7b", "gemma"), ("gguf",), schemes=True)
    models = {"llama2-7b": "LLaMA-2-7B"}
    figure = draw(frame, "tradeoff", published="mpt_gguf_families", published_models=models)
    assert hollow(figure) == [([2, 3, 4, 5, 6, 8], [6.69, 6.34, 6.24, 6.18, 6.17, 6.16])]
    assert "LLaMA-2-7B (published)" in texts(figure)


def test_a_fraction_has_a_linear_axis_with_its_published_column():
    frame = quantized(("qwen",), ("gguf",), schemes=True)
    ours = frame["evaluation"] == "ppl"
    frame.loc[ours, ["value", "unit", "score"]] = [0.5, "fraction", "acc"]
    theirs = read_published("mpt_gguf", "ppl", "arc_e")
    spec = {"source": "x", "kind": "tradeoff", "value": "ppl", "published": "mpt_gguf"}
    spec |= {"published_column": "arc_e", "published_models": {"qwen": "Qwen2.5-1.5B"}}
    figure = figures.draw(pd.concat([frame, theirs]), None, figures.parse(spec))
    assert figure.axes[0].get_yscale() == "linear"
    ((_, values),) = hollow(figure)
    raw = pd.read_csv("resources/published/mpt_gguf.csv").query("model == 'Qwen2.5-1.5B'")
    assert len(values) > 3
    assert set(values) <= set(raw["arc_e"])


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
