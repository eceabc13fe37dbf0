"""Texts of data points: in the SVG, where the markers are; not in the PNG."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from meltpoint import figures
from meltpoint.figures.style import RC, save
from meltpoint.figures.tooltips import note
from meltpoint.text import reading
from meltpoint.transitions.fit import fit_curves
from tests.figures.test_figures import LEVELS, frame, spec

SVG = "{http://www.w3.org/2000/svg}"
X, Y = [0.1, 0.5, 0.9], [3.0, 30.0, 3000.0]


def circles(path) -> dict[str, tuple[float, float]]:
    """Text to centre."""
    found = {}
    for circle in ET.parse(path).iter(f"{SVG}circle"):
        found[circle.find(f"{SVG}title").text] = (float(circle.get("cx")), float(circle.get("cy")))
    return found


def markers(path, gid: str) -> list[tuple[float, float]]:
    """Where the markers of the line of that id are drawn."""
    tree = ET.parse(path)
    line = next(group for group in tree.iter(f"{SVG}g") if group.get("id") == gid)
    return [(float(use.get("x")), float(use.get("y"))) for use in line.iter(f"{SVG}use")]


def draw(noted: bool = True, **kwargs) -> Figure:
    figure = Figure((4, 3), **kwargs)
    left, right = figure.subplots(1, 2)
    left.set_yscale("log")
    for ax, name in ((left, "left"), (right, "right")):
        ax.set_ylabel("perplexity")
        ax.plot(X, Y, "o", gid=name)
        if noted:
            note(ax, X, Y, [f"{name} {x}" for x in X])
    return figure


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("bbox", [None, "tight"])
def test_circles_stand_on_the_markers(tmp_path, layout, bbox):
    path = tmp_path / "f.svg"
    with rc_context({**RC, "savefig.bbox": bbox}):
        draw(layout=layout).savefig(path)
    found = circles(path)
    assert len(found) == 6
    for name in ("left", "right"):
        wanted = markers(path, name)
        assert len(wanted) == 3
        ours = [found[f"{name} {x}"] for x in X]
        np.testing.assert_allclose(ours, wanted, atol=1e-3)


def test_drawing_is_the_same_with_and_without(tmp_path):
    for name, noted in (("with", True), ("without", False), ("again", True)):
        figure = draw(noted, layout="constrained")
        save(figure, [tmp_path / f"{name}.svg", tmp_path / f"{name}.png"])
    first, plain, again = (
        (tmp_path / f"{n}.png").read_bytes() for n in ("with", "without", "again")
    )
    assert first == plain == again
    first, plain, again = (
        (tmp_path / f"{n}.svg").read_text() for n in ("with", "without", "again")
    )
    assert first == again
    begin, end = first.index('  <g class="notes">'), first.index("</g>", first.index('"notes"'))
    assert first[:begin] + first[end:].removeprefix("</g>\n") == plain


def test_texts_are_kept_whatever_they_hold(tmp_path):
    figure = Figure()
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1])
    note(ax, 0.5, 0.5, 'a < b & "c"\nd')
    save(figure, [tmp_path / "f.svg"])
    assert list(circles(tmp_path / "f.svg")) == ['a < b & "c"\nd']


def test_points_that_are_not_seen_have_no_circle(tmp_path):
    figure = Figure()
    ax = figure.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    note(ax, [0, 0.5, 0.5, np.nan, 2], [1, np.inf, np.nan, 0.5, 0.5], list("abcde"))
    note(ax, 0.5, 1, "edge", transform=ax.get_xaxis_transform())
    save(figure, [tmp_path / "f.svg"])
    assert list(circles(tmp_path / "f.svg")) == ["a", "edge"]


def test_curves_say_what_each_point_is(tmp_path):
    cells = frame().assign(achieved=0.5004)
    cells.loc[(cells["method"] == "wanda") & (cells["level"] == "0.8"), "value"] = np.inf
    fits = fit_curves(cells, draws=50)
    figure = figures.draw(cells, fits, spec(labels={"wanda": "Wanda"}))
    save(figure, [tmp_path / "f.svg"])
    texts = list(circles(tmp_path / "f.svg"))
    assert "Wanda at 2:4\nperplexity 30.00 ± 0.30\nachieved sparsity 0.5004" in texts
    assert "Wanda at 0.8\nperplexity inf\nachieved sparsity 0.5004" in texts
    assert sum(text.startswith("sparsegpt at") for text in texts) == len(LEVELS) + 2
    fit = fits[fits["method"] == "sparsegpt"].iloc[0]
    star = f"sparsegpt: transition at {fit['s0']:.3f}\n95 % interval {fit['s0_low']:.3f} to"
    assert any(text.startswith(star) for text in texts)


def test_numbers_are_read_to_the_digits_of_their_error():
    assert reading(31.2345, 0.4123) == "31.23 ± 0.41"
    assert reading(12345.6, 123.4) == "12,346 ± 123"
    assert reading(0.123456) == "0.1235"
    assert reading(np.inf) == "inf"
    assert reading(np.nan, 1.0) == "nan"
