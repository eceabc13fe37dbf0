"""Transition points: the fit's algebra, what is claimed, and how often the claims are right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis.frame import PERPLEXITY_COLUMNS
from meltpoint.transitions.fit import (
    COLUMNS,
    FORMS,
    PUBLISHED_FORM,
    SIGNIFICANCE,
    Points,
    candidates,
    fit_curves,
    fit_points,
    least,
    predict,
    smooth_test,
)
from meltpoint.transitions.forms import DenseLimit, PowerLaw, evaluate
from meltpoint.transitions.intervals import aicc, fit, interval, squares
from meltpoint.transitions.smooth_forms import Polynomial, Stretched, Unbroken

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published"
GRID = np.arange(1, 10) / 10
FINE = np.arange(2, 19) / 20

needs_published = pytest.mark.skipif(
    not PUBLISHED.exists(), reason="the published points (../shared/data) are not here"
)


def points(s, y, dense=None):
    return Points(np.asarray(s), np.asarray(y), np.ones(len(s)), dense)


def broken(s, s0, beta=7.0, gamma=0.0, a=10.0, alpha=0.25):
    return np.log(evaluate("power law", s, s0, np.nan, a, alpha, beta, gamma))


def frame(s, ppl, dense=None, method="wanda", kind="unstructured"):
    s = [f"{x:g}" if isinstance(x, float) else x for x in s]
    cells = pd.DataFrame({"level": s, "value": ppl, "method": method, "kind": kind})
    if dense is not None:
        cells.loc[len(cells)] = {"level": "", "value": dense, "method": "dense", "kind": ""}
    cells["chain"] = cells["method"].where(cells["method"] == "dense", "x@" + cells["level"])
    same = {"model": "m", "settings": "", "evaluation": "ppl", **PERPLEXITY_COLUMNS}
    return cells.assign(**same, status="ok", stderr=np.nan)


def published_frame(table):
    levels = [float(x) for x in table["sparsity"]]
    return frame(levels, table["ppl"].to_numpy(), None, table["label"].to_numpy())


@pytest.fixture(scope="module")
def drawn():
    """The published points and the s0 of their published fits."""
    table = pd.read_csv(PUBLISHED / "mpt_figure_points.csv")
    stars = pd.read_csv(PUBLISHED / "mpt_phase_points.csv").query("obtained == 'digitised'")
    return table, stars


@needs_published
def test_the_published_curves_are_the_power_law_form(drawn):
    for star in drawn[1].itertuples():
        known = star.s0, np.nan, star.a, star.alpha, star.beta, star.gamma
        assert evaluate("power law", star.s0, *known) == pytest.approx(star.ppl_at_s0, rel=1e-4)


@needs_published
def test_the_published_transition_points_come_back(drawn):
    table, stars = drawn
    s0 = dict(zip(stars["label"], stars["s0"], strict=True))
    fits = fit_curves(published_frame(table), forms=PUBLISHED_FORM, published=s0, draws=100)
    assert len(fits) == 16
    assert ((fits["s0"] - fits["s0_published"]).abs() <= 0.05).sum() >= 12


@needs_published
def test_intervals_of_sparse_levels_cover_the_s0_of_all_points(drawn):
    table, _ = drawn
    tenths = np.isclose(10 * table["sparsity"], (10 * table["sparsity"]).round())
    all_points = fit_curves(published_frame(table), forms=PUBLISHED_FORM, draws=100)
    sparse = fit_curves(published_frame(table[tenths]), forms=PUBLISHED_FORM)
    both = sparse.merge(all_points[["method", "s0"]], on="method", suffixes=("", "_all"))
    both = both.dropna(subset="s0")
    assert len(both) >= 14
    assert both["s0_all"].between(both["s0_low"], both["s0_high"]).mean() >= 0.8


def test_intervals_cover_a_known_s0():
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(200):
        s = (GRID, FINE)[i % 2]
        s0, gamma = rng.uniform(0.3, 0.6), rng.choice([0, 40])
        y = broken(s, s0, rng.uniform(4, 9), gamma) + rng.normal(0, 0.03, len(s))
        data = s, y, np.ones(len(s))
        best = least([fit(form, *data) for form in candidates("power law", None)])
        low, high = interval(best, *data, draws=150, seed=i)
        inside += low <= s0 <= high
    assert 180 <= inside <= 198


def smooth_curve(kind, s, rng):
    if kind == "stretched":
        return rng.uniform(0.5, 4) * s ** rng.uniform(0.5, 3)
    if kind == "polynomial":
        return sum(rng.uniform(0, c) * s**k for k, c in ((1, 2), (2, 3), (3, 3)))
    return np.log1p(rng.uniform(0.2, 5) * s ** rng.uniform(0.3, 3))


def test_smooth_curves_are_not_called_broken():
    rng = np.random.default_rng(0)
    claimed = 0
    for i in range(200):
        s, dense = (GRID, FINE)[i % 2], (10.0, None)[i // 2 % 2]
        y = np.log(10) + smooth_curve(("stretched", "polynomial", "power")[i % 3], s, rng)
        curve = points(s, y + rng.normal(0, (0.01, 0.05)[i // 4 % 2], len(s)), dense)
        forms = candidates("smooth", dense)
        smooth = least([fit(form, curve.s, curve.y, curve.weights) for form in forms])
        claimed += smooth_test({"smooth": smooth}, FORMS, curve, 99, i) <= SIGNIFICANCE
    assert claimed <= 10


@pytest.mark.parametrize("gamma", [0.0, 30.0])
@pytest.mark.parametrize("dense", [None, 10.0])
def test_a_clear_break_is_found(gamma, dense):
    y = np.log(evaluate("dense limit", FINE, 0.5, 10.0, 5.0, 1.5, 8.0, gamma))
    noise = np.random.default_rng(1).normal(0, 0.005, len(FINE))
    row = fit_points(points(FINE, y + noise, dense))
    assert row["form"] in FORMS[:2]
    assert row["s0"] == pytest.approx(0.5, abs=0.02)
    assert row["s0_low"] <= 0.5 <= row["s0_high"]
    assert row["p_smooth"] <= SIGNIFICANCE


def test_a_smooth_curve_has_no_s0():
    y = np.log(10) + 2 * GRID**2 + np.random.default_rng(0).normal(0, 0.01, 9)
    row = fit_points(points(GRID, y, 10.0))
    assert row["form"].startswith("smooth")
    assert np.isnan([row["s0"], row["s0_low"], row["s0_high"]]).all()
    assert "no transition" in row["warning"]


def test_a_bend_is_warned_of():
    row = fit_points(points(FINE, np.log(10) + 8 * FINE**6, 10.0))
    assert "a bend without a break, exp(c s^6.0)" in row["warning"]


EXACT = [
    (PowerLaw((1,)), {"s0": 0.43, "a": 9.0, "alpha": 0.3, "beta": 6.0, "gamma": 0.0}),
    (PowerLaw((1, 2)), {"s0": 0.43, "a": 9.0, "alpha": 0.3, "beta": 3.0, "gamma": 20.0}),
    (
        DenseLimit((1,)),
        {"s0": 0.43, "ppl0": 8.0, "a": 6.0, "alpha": 1.5, "beta": 6.0, "gamma": 0.0},
    ),
    (
        DenseLimit((1, 2), 8.0),
        {"s0": 0.43, "ppl0": 8.0, "a": 6.0, "alpha": 1.5, "beta": 4.0, "gamma": 20.0},
    ),
    (Stretched(), {"ppl0": 8.0, "a": 3.0, "alpha": 2.2}),
    (Polynomial((1, 2), 8.0), {"ppl0": 8.0, "beta": 0.5, "gamma": 2.0}),
    (Polynomial((1, 3)), {"ppl0": 8.0, "beta": 0.5, "a": 2.0, "alpha": 3.0}),
    (Unbroken(8.0), {"ppl0": 8.0, "a": 12.0, "alpha": 0.8}),
    (Unbroken(zero=True), {"ppl0": 0.0, "a": 12.0, "alpha": 0.8}),
]


@pytest.mark.parametrize(("form", "truth"), EXACT)
def test_each_form_gives_back_its_own_curve(form, truth):
    names = ("s0", "ppl0", "a", "alpha", "beta", "gamma")
    y = np.log(evaluate(form.name, FINE, *(truth.get(name, np.nan) for name in names)))
    found = fit(form, FINE, y, np.ones(len(FINE)))
    assert np.sqrt(found.rss / len(FINE)) < 2e-3
    again = evaluate(form.name, FINE, *(found.parameters.get(name, np.nan) for name in names))
    np.testing.assert_allclose(np.log(again), found.fitted, atol=1e-9)
    for name, value in truth.items():
        assert found.parameters[name] == pytest.approx(value, rel=0.05, abs=0.01)


def test_squares_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    form, targets = DenseLimit((1, 2)), rng.normal(size=(9, 4))
    axes = [np.array([0.35, 0.52]), np.log([0.1, 0.4]), np.array([0.5, 2.0])]
    design = form.design(GRID, axes)
    found = squares(design, targets)
    for j, m, b in np.ndindex(found.shape):
        target = targets[:, b] - design.offset[j, m]
        solution = np.linalg.lstsq(design.basis[j], target, rcond=None)[0]
        expected = ((target - design.basis[j] @ solution) ** 2).sum()
        negative = (solution[list(design.positive)] < 0).any()
        assert found[j, m, b] == (np.inf if negative else pytest.approx(expected))


def test_aicc_is_that_of_hurvich_and_tsai():
    assert aicc(2.0, 20, 3) == pytest.approx(20 * np.log(0.1) + 6 + 24 / 16)
    assert aicc(2.0, 4, 3) == np.inf


def test_only_numeric_finite_levels_enter():
    s, ppl = [*GRID.tolist(), "2of4"], [*np.exp(broken(GRID, 0.5)), 99.0]
    clean = fit_curves(frame(s[:-1], ppl[:-1]), draws=50)
    assert fit_curves(frame(s, ppl), draws=50).equals(clean)
    ppl[8], ppl[7] = np.inf, np.nan
    row = fit_curves(frame(s, ppl), draws=50).iloc[0]
    assert row["points"] == 7
    assert "left out: 0.8 (nan), 0.9 (inf)" in row["warning"]


def test_refused_scores_are_left_out_and_other_scores_do_not_enter():
    cells = frame(GRID.tolist(), np.exp(broken(GRID, 0.5)))
    cells.loc[7, ["value", "status"]] = [np.nan, "refused"]
    row = fit_curves(cells, draws=50).iloc[0]
    assert row["points"] == 8
    assert "left out: 0.8 (refused)" in row["warning"]
    other = cells.assign(score="bits_per_byte", main=False)
    assert fit_curves(pd.concat([cells, other]), draws=50).equals(fit_curves(cells, draws=50))


def test_a_coarse_grid_is_said_to_be_one():
    y = broken(GRID, 0.45, 5.0) + np.random.default_rng(3).normal(0, 0.08, 9)
    row = fit_points(points(GRID, y), PUBLISHED_FORM)
    assert row["s0_high"] - row["s0_low"] >= 0.1
    assert "grid too coarse: add levels between" in row["warning"]
    few = fit_points(points(GRID[:5], y[:5]))
    assert few["form"] == ""
    assert "no fit: 5 points" in few["warning"]


def test_rows_hold_the_columns_and_draw_their_curve():
    ppl = np.exp(broken(FINE, 0.5))
    fits = fit_curves(frame(FINE.tolist(), ppl, dense=5.0), published={"wanda": 0.57}, draws=50)
    assert list(fits) == COLUMNS
    row = fits.iloc[0]
    assert row["s0_published"] == 0.57
    assert row["family"] == "unstructured"
    np.testing.assert_allclose(predict(row, FINE), ppl, rtol=0.02)
    assert predict(row, row["s0"]) == pytest.approx(row["value_at_s0"])
    assert predict(row, row["s0"] + 1e-9) == pytest.approx(row["value_at_s0"])


def test_the_same_seed_gives_the_same_interval():
    y = broken(GRID, 0.5) + np.random.default_rng(0).normal(0, 0.03, 9)
    first, again = (fit_points(points(GRID, y), PUBLISHED_FORM, seed=1) for _ in range(2))
    assert first == again


def test_exact_points_weigh_more():
    y = broken(FINE, 0.5)
    y[3] += 1.0
    cells = frame(FINE.tolist(), np.exp(y)).assign(stderr=0.001 * np.exp(y))
    cells.loc[3, "stderr"] = 10 * cells.loc[3, "value"]
    row = fit_curves(cells, forms=PUBLISHED_FORM, draws=50).iloc[0]
    assert row["s0"] == pytest.approx(0.5, abs=0.01)


def test_levels_that_are_no_sparsities_have_no_curve():
    fits = fit_curves(frame(["8bit", "4bit", "3bit"], [5.0, 5.1, 6.0], dense=5.0, method="rtn"))
    assert list(fits) == COLUMNS
    assert fits.empty
