"""Figures: that what is drawn is what the frame says, and that the files are reproducible."""

import numpy as np
import pandas as pd
import pytest

from meltpoint import figures
from meltpoint.analysis.frame import PERPLEXITY_COLUMNS
from meltpoint.errors import MeltpointError
from meltpoint.figures.style import MARKERS, PALETTE, looks
from meltpoint.transitions.fit import fit_curves

LEVELS = np.arange(1, 9) / 10


def spec(**changes):
    fit = {} if "kind" in changes else {"fit": "transition"}
    return figures.parse({"source": "x", "value": "ppl"} | fit | changes)


def cell(model, method, level, value):
    return {
        **{
            "model": model,
            "method": method,
            "level": level,
            "value": value,
            "stderr": 0.01 * value,
        },
        **{"chain": "dense" if method == "dense" else f"{method}@{level}", "settings": ""},
        **{"evaluation": "ppl", "status": "ok"},
        **PERPLEXITY_COLUMNS,
        **{"kind": "unstructured", "difference_stderr": np.nan},
    }


def frame(models=("m",)):
    rows = []
    for model in models:
        rows.append(cell(model, "dense", "", 20.0))
        for method, s0 in (("wanda", 0.45), ("sparsegpt", 0.55)):
            curve = 20 * (1 + 0.3 * LEVELS**2) * np.exp(12 * np.maximum(LEVELS - s0, 0))
            rows += [cell(model, method, f"{s:g}", v) for s, v in zip(LEVELS, curve, strict=True)]
            rows += [cell(model, method, "2of4", 30.0), cell(model, method, "4of8", 25.0)]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def drawn():
    cells = frame()
    transitions = fit_curves(cells, draws=50)
    return figures.draw(cells, transitions, spec()), transitions


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_stars_stand_at_s0(drawn):
    figure, transitions = drawn
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert sorted(x for line in stars for x in line.get_xdata()) == sorted(transitions["s0"])
    strip = figure.axes[1]
    bars = [tuple(line.get_xdata()) for line in strip.lines if line.get_marker() == "|"]
    assert bars == list(zip(transitions["s0_low"], transitions["s0_high"], strict=True))


def test_points_are_those_of_the_frame(drawn):
    points = [c.lines[0] for c in drawn[0].axes[0].containers]
    assert [list(line.get_xdata()) for line in points] == [list(LEVELS)] * 2
    cells = frame()
    wanda = cells[(cells["method"] == "wanda") & ~cells["level"].str.contains("of")]
    np.testing.assert_array_equal(points[0].get_ydata(), wanda["value"])


def test_legend_names_methods_and_signs_outside_the_panels(drawn):
    figure = drawn[0]
    assert texts(figure) == ["wanda", "sparsegpt", "2:4", "4:8", "$s_0$, 95 % interval"]
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert not any(box.overlaps(ax.get_window_extent()) for ax in figure.axes)
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_without_fit_there_are_no_stars():
    figure = figures.draw(frame(), None, spec(fit=None, labels={"wanda": "Wanda"}))
    assert len(figure.axes) == 1
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert texts(figure) == ["Wanda", "sparsegpt", "2:4", "4:8"]


def test_one_panel_per_model():
    figure = figures.draw(frame(("m", "n")), None, spec(fit=None))
    assert [ax.get_title() for ax in figure.axes] == ["m", "n"]
    assert figure.get_figwidth() == pytest.approx(2 * 3.35)


def test_infinities_are_drawn_at_the_edge():
    cells = frame()
    cells.loc[(cells["method"] == "wanda") & (cells["level"] == "0.8"), "value"] = np.inf
    figure = figures.draw(cells, None, spec(fit=None))
    assert "∞" in [text.get_text() for text in figure.axes[0].texts]
    assert np.isfinite(figure.axes[0].get_ylim()).all()


def test_same_figure_same_bytes(tmp_path):
    for name in ("a", "b"):
        figure = figures.draw(frame(), None, spec(fit=None))
        figures.save(figure, [tmp_path / f"{name}.svg", tmp_path / f"{name}.png"])
    for suffix in ("svg", "png"):
        first, second = (tmp_path / f"{name}.{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()


def test_looks_are_fixed_distinct_and_overruled():
    assert looks(["sparsegpt", "wanda"], {})["wanda"] == looks(["wanda"], {})["wanda"]
    many = looks([f"m{i}" for i in range(len(PALETTE))], {})
    assert len(set(many.values())) == len(PALETTE) == len(MARKERS)
    assert looks(["wanda"], {"wanda": "black"})["wanda"][0] == "black"


def test_nothing_to_draw_is_said():
    with pytest.raises(MeltpointError, match="No cell of other has a numeric sparsity"):
        figures.draw(frame(), None, spec(value="other"))
    with pytest.raises(
        MeltpointError, match="unknown kind of figure 'curve': did you mean 'curves'"
    ):
        figures.find("curve")


def seeds():
    """Two methods at two levels, four seeds and two numbers of samples of each; magnitude has none."""
    rows = [cell("m", "dense", "", 20.0), cell("m", "magnitude", "0.5", 40.0)]
    for method, offset in (("wanda", 0.0), ("sparsegpt", 1.0)):
        for seed in range(4):
            for samples in (8, 64):
                value = 30 + offset + seed / 10 + 8 / samples
                row = cell("m", method, "0.5", value)
                rows.append(row | {"settings": f"samples={samples},seed={seed}"})
    return pd.DataFrame(rows)


def test_a_spread_has_means_and_deviations_over_seeds():
    declared = spec(kind="spread", x="method", average_over="seed", levels=["0.5"])
    figure = figures.draw(seeds(), None, declared)
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["magnitude", "wanda", "sparsegpt"]
    assert texts(figure) == ["default", "samples=8", "samples=64"]
    offsets = np.array([0, 0.1, 0.2, 0.3])
    mean = 30 + offsets.mean() + 8 / 64
    means = [y for line in ax.lines if line.get_marker() == "^" for y in line.get_ydata()]
    assert means == pytest.approx([np.nan, mean, mean + 1], nan_ok=True)
    bars = [line.get_ydata() for line in ax.lines if line.get_marker() in ("", "None")]
    deviations = [
        (np.nanmax(y) - np.nanmin(y)) / 2 for y in bars if np.nanmean(y) == pytest.approx(mean)
    ]
    assert deviations == pytest.approx([np.std(offsets, ddof=1)])
    dots = np.concatenate([dots.get_offsets()[:, 1] for dots in ax.collections])
    assert sorted(dots) == pytest.approx(sorted(seeds()["value"][1:]))


def test_what_a_methods_cells_share_has_no_colour_of_its_own():
    cells = seeds()
    wanda = cells["method"] == "wanda"
    cells.loc[wanda, "settings"] = "cycles=4," + cells.loc[wanda, "settings"]
    declared = spec(kind="spread", x="method", average_over="seed", levels=["0.5"])
    assert texts(figures.draw(cells, None, declared)) == [
        "default", "samples=8", "samples=64"
    ]  # fmt: skip


def test_a_spread_over_the_values_of_a_setting():
    declared = spec(kind="spread", x="samples", average_over="seed", levels=[0.5])
    cells = seeds()
    figure = figures.draw(cells[cells["method"] != "magnitude"], None, declared)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["8", "64"]
    assert texts(figure) == ["wanda", "sparsegpt"]


def test_one_value_each_has_the_error_of_its_difference():
    cells = frame().assign(difference_stderr=0.5, reason="no reason")
    gone = (cells["method"] == "wanda") & (cells["level"] == "0.5")
    cells.loc[gone, ["status", "value"]] = ["not_applicable", np.nan]
    labels = {"wanda": "Wanda", "sparsegpt": "SparseGPT"}
    declared = spec(
        kind="spread", x="method", average_over=None, levels=["0.4", "0.5"], labels=labels
    )
    figure = figures.draw(cells, None, declared)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["Wanda", "SparseGPT"]
    bar = figure.axes[0].collections[0].get_segments()[0]
    assert np.ptp(bar[:, 1]) == pytest.approx(1.0)
    assert "N/A" in [t.get_text() for t in figure.axes[1].texts]
    assert not figure.legends


def test_a_spread_over_nothing_is_refused():
    with pytest.raises(MeltpointError, match="has the setting 'seed'"):
        figures.draw(frame(), None, spec(kind="spread", x="method", average_over="seed", levels=[]))


def beside(name="Wanda"):
    rows = [cell("published", name, level, 6.0) for level in ("0.2", "0.5", "2of4")]
    return pd.DataFrame([row | {"source": "published"} for row in rows])


def test_published_curves_are_dashed_and_hollow_beside_a_studys_own():
    cells = pd.concat([frame(), beside()])
    figure = figures.draw(cells, None, spec(fit=None, published="mpt_unstructured_ppl"))
    assert "Wanda (published)" in texts(figure)
    (line,) = [
        line
        for line in figure.axes[0].lines
        if line.get_markerfacecolor() == "white" and line.get_linestyle() == "--"
    ]
    assert list(line.get_xdata()) == [0.2, 0.5]
    assert line.get_color() == looks(["wanda", "sparsegpt"], {})["wanda"][0]
    assert len(figure.axes) == 1


def test_a_published_table_without_the_studys_methods_is_refused():
    cells = pd.concat([frame(), beside("RIA")])
    with pytest.raises(
        MeltpointError, match="published: mpt_unstructured_ppl has none of the figure's methods"
    ):
        figures.draw(cells, None, spec(fit=None, published="mpt_unstructured_ppl"))


def test_a_published_transition_point_is_a_hollow_star():
    cells = frame()
    fits = fit_curves(cells, published={"wanda": 0.44}, draws=20)
    figure = figures.draw(cells, fits, spec())
    assert "published $s_0$" in texts(figure)
    places = [float(line.get_xdata()[0]) for line in figure.axes[1].lines]
    assert 0.44 in places


@pytest.mark.parametrize("ends", [(66, 69), (86, 145), (5, 14), (5, 60), (5, 900), (5, 90000)])
def test_an_axis_has_several_ticks_whatever_it_spans(ends):
    cells = seeds()
    low, high = cells["value"].min(), cells["value"].max()
    share = (cells["value"] - low) / (high - low)
    cells["value"] = ends[0] * (ends[1] / ends[0]) ** share
    declared = spec(kind="spread", x="method", average_over="seed", levels=["0.5"])
    figure = figures.draw(cells, None, declared)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    bottom, top = ax.get_ylim()
    seen = [t for t in ax.yaxis.get_majorticklocs() if bottom <= t <= top]
    assert 2 <= len(seen) <= 12


def test_points_may_stand_at_the_fraction_that_is_removed():
    """SliceGPT at a small level adds parameters: its point is left of zero."""
    rows = [cell("m", "dense", "", 20.0) | {"removed": 0.0}]
    for method, kind, removed in (
        ("wanda", "unstructured", 0.1),
        ("slicegpt", "structured", -0.03),
    ):
        rows.append(cell("m", method, "0.1", 21.0) | {"kind": kind, "removed": removed})
    drawn = figures.draw(pd.DataFrame(rows), None, spec(fit=None, x="removed"))
    ax = drawn.axes[0]
    places = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert {0.1, -0.03} <= set(places)
    assert ax.get_xlim()[0] < -0.03
    assert ax.get_xlabel() == "fraction of the decoder's parameters removed"


def test_the_levels_of_structured_methods_are_no_sparsities():
    cells = frame()
    cells.loc[cells["method"] == "wanda", "kind"] = "structured"
    labels = [figures.draw(c, None, spec(fit=None)).axes[0].get_xlabel() for c in (frame(), cells)]
    assert labels == ["sparsity", "level, as each method means it"]
