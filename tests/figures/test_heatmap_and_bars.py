"""Heat maps and bars: that they show the values of the frame, at their places."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from meltpoint import figures
from meltpoint.errors import MeltpointError
from tests.support.quantized_frames import absent, draw, measured, quantized, texts


def cells_of(ax) -> list[list[float]]:
    """Values of a panel's cells, from above."""
    mesh = ax.collections[0].get_array()
    rows = np.ma.filled(mesh, np.nan).reshape(-1, len(ax.get_xticks()))
    return rows[::-1].tolist()


def names(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def frames_of(ax) -> list[tuple[float, float]]:
    """Places of the frames around best cells."""
    return [(patch.get_x() // 1, patch.get_y() // 1) for patch in ax.patches]


def by_settings():
    """Two methods at one level, by two lengths and three numbers of samples; the longest are best."""
    rows = measured("m", "dense", 16, 5.0)
    for method in ("wanda", "ria"):
        for length in (64, 128):
            for samples in (8, 32, 128):
                settings = f"length={length},samples={samples}"
                ppl = 8.0 - length / 64 - samples / 100 + (method == "ria")
                cells = measured("m", f"{method}@0.5,{settings}", 9, ppl)
                rows += [cell | {"settings": settings, "level": "0.5"} for cell in cells]
    return pd.DataFrame(rows)


def test_a_heat_map_has_methods_and_levels_at_their_places():
    frame = absent(quantized(), "rtn@2bit")
    figure = draw(frame, "heatmap", labels={"gptq": "GPTQ"}, order=["rtn"])
    ax, bar = figure.axes
    assert names(ax.xaxis) == ["8-bit", "4-bit", "3-bit", "2-bit", "–"]
    assert names(ax.yaxis)[::-1] == ["rtn", "GPTQ", "nf4"]
    values = frame[frame["evaluation"] == "ppl"].set_index("chain")["value"]
    steps = [[f"{m}@{b}bit" for b in (8, 4, 3, 2)] for m in ("rtn", "gptq")]
    expected = [[*(values[step] for step in row), np.nan] for row in steps]
    expected.append([*[np.nan] * 4, values["nf4"]])
    np.testing.assert_allclose(cells_of(ax), expected)
    assert [text.get_text() for text in ax.texts][-1] == f"{values['rtn@3bit']:.2f}"
    assert frames_of(ax) == [(0, 1)]
    assert bar.get_ylabel() == "perplexity"


def test_a_heat_map_over_two_settings_has_a_panel_for_each_method(tmp_path):
    figure = draw(by_settings(), "heatmap", x="samples", y="length")
    wanda, ria, _ = figure.axes
    assert [ax.get_title() for ax in (wanda, ria)] == ["wanda 0.5", "ria 0.5"]
    assert names(wanda.xaxis) == ["8", "32", "128"]
    assert names(wanda.yaxis) == ["64", "128"], "numbers grow upwards"
    np.testing.assert_allclose(cells_of(wanda), [[5.92, 5.68, 4.72], [6.92, 6.68, 5.72]])
    assert wanda.collections[0].norm is ria.collections[0].norm
    assert (frames_of(wanda), frames_of(ria)) == ([(2, 1)], [])
    figures.save(figure, [tmp_path / "a.svg"])
    assert (
        "m, wanda 0.5\nsamples 128, length 128\n4.720 ± 0.047" in (tmp_path / "a.svg").read_text()
    )


def test_where_more_is_better_the_largest_is_framed():
    figure = draw(quantized(), "heatmap", value="speed", mark_best=True)
    assert frames_of(figure.axes[0]) in ([(3, 1)], [(3, 2)], [(3, 2), (3, 1)])
    assert not frames_of(draw(quantized(), "heatmap", value="speed", mark_best=False).axes[0])


def test_a_heat_map_without_cells_is_refused():
    with pytest.raises(MeltpointError, match="No cell of ppl has the setting 'seed'"):
        draw(quantized(), "heatmap", x="seed")
    with pytest.raises(MeltpointError, match="No cell of ppl has a value"):
        draw(pd.DataFrame(measured("m", "dense", 16, 5.0)), "heatmap")
    with pytest.raises(ValidationError, match="y: the rows must differ from the columns"):
        draw(quantized(), "heatmap", x="method")


def differences():
    """Quantised models with the difference to dense and its error."""
    frame = quantized()
    dense = frame.loc[frame["chain"] == "dense"].set_index("evaluation")["value"]
    change = frame["value"] - frame["evaluation"].map(dense)
    return absent(frame.assign(difference=change, difference_stderr=0.1), "gptq@3bit")


def test_bars_are_the_paired_differences_with_their_intervals():
    frame = differences()
    frame.loc[frame["chain"] == "gptq@3bit", "difference"] = np.nan
    figure = draw(frame, "bars", labels={"gptq": "GPTQ"}, order=["rtn"])
    (ax,) = figure.axes
    rows = names(ax.yaxis)
    assert rows == [f"{m} {b}-bit" for m in ("rtn", "GPTQ") for b in (2, 3, 4, 8)] + ["nf4"]
    ppl = frame[(frame["evaluation"] == "ppl") & (frame["chain"] != "dense")].set_index("chain")
    widths = {
        rows[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() for bar in ax.patches
    }
    assert widths["rtn 2-bit"] == pytest.approx(ppl.loc["rtn@2bit", "difference"])
    assert widths["nf4"] == pytest.approx(0.2)
    assert "GPTQ 3-bit" not in widths
    intervals = [np.ptp(segment[:, 0]) for segment in ax.collections[0].get_segments()]
    assert intervals == pytest.approx([2 * 1.96 * 0.1] * 8)
    words = [text.get_text() for text in ax.texts]
    assert words.count("not applicable") == 1
    assert f"{ppl.loc['rtn@2bit', 'difference']:+.2f}" in words
    assert texts(figure) == ["higher", "lower", "95 % interval"]


def test_bars_may_be_percent_of_dense():
    (ax,) = draw(differences(), "bars", show="percent", digits=1).axes
    assert "+3.6" in [text.get_text() for text in ax.texts], "nf4: 0.2 of 5.5"
    assert ax.get_xlabel() == "perplexity: difference to dense (%)"


def test_a_bar_without_an_error_leaves_the_others_their_intervals():
    frame = differences()
    frame.loc[frame["chain"] == "rtn@2bit", "difference_stderr"] = np.nan
    (ax,) = draw(frame, "bars").axes
    assert len(ax.collections[0].get_segments()) == 7


def test_percents_of_a_score_below_zero_have_the_sign_of_the_difference():
    frame = differences()
    frame["value"] *= -1
    (ax,) = draw(frame, "bars", show="percent", digits=1).axes
    assert "+3.6" in [text.get_text() for text in ax.texts], "nf4: 0.2 of 5.5"


def test_bars_without_differences_are_refused():
    with pytest.raises(MeltpointError, match="No cell of ppl has a difference to dense"):
        draw(quantized(), "bars")
