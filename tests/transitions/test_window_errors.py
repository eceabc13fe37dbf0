"""Errors of transition points from windows and seeds, and predictions of levels that are held out."""

import numpy as np
import pandas as pd
import pytest

from meltpoint.errors import MeltpointError
from meltpoint.transitions.fit import fit_curves, with_draw_errors
from meltpoint.transitions.forms import DenseLimit
from meltpoint.transitions.intervals import fit
from meltpoint.transitions.points import Points, points_of
from meltpoint.transitions.prediction import predict_held_out, prediction_interval
from meltpoint.transitions.reservations import window_warnings
from meltpoint.transitions.window_errors import window_errors
from tests.support import kept_cells
from tests.support.coverage import check_coverage

LOSSES = kept_cells.losses()
LEVELS = np.arange(1, 9) / 10
CURVE = np.stack([LOSSES[f"magnitude@{level:g}"] for level in LEVELS])


def curve(folder, method="magnitude", seed="", shift=0.0, levels=LEVELS):
    """Cells of a curve; `shift` is added to the losses from 0.6 on."""
    paths = []
    for level in levels:
        means = LOSSES[f"{method}@{level:g}"] + shift * (level > 0.55)
        paths.append(kept_cells.write(folder, f"{method}@{level:g}{seed}", means))
    return paths


@pytest.fixture
def frame(tmp_path):
    dense = kept_cells.write(tmp_path, "dense", LOSSES["dense"])
    return kept_cells.frame(dense, *curve(tmp_path))


def points(losses, dense):
    even = np.ones(len(losses))
    return Points(LEVELS, losses.mean(1), even, np.exp(dense.mean()), (), losses, dense)


def test_the_windows_losses_are_those_that_are_kept(frame):
    cells = frame[frame["chain"] != "dense"]
    np.testing.assert_allclose(points_of(cells).units, CURVE, rtol=1e-6)
    assert points_of(cells.drop(columns="sample")).units is None


@pytest.mark.parametrize(
    ("windows", "phrases"),
    [
        ((0.41, 0.59), []),
        ((0.395, 0.6), []),
        ((0.41, 0.65), ["other texts move s0 beyond its interval, from 0.41 to 0.65"]),
        ((0.3, 0.5), ["other texts move s0 beyond its interval, from 0.30 to 0.50"]),
        ((np.nan, np.nan), []),
    ],
)
def test_texts_that_move_s0_beyond_its_interval_are_a_reservation(windows, phrases):
    assert window_warnings((0.4, 0.6), windows) == phrases


def test_the_bootstrap_knows_how_far_s0_moves_between_sets_of_windows():
    """s0 of the form fitted to 60 sets of windows that are drawn anew, against the error of one set."""
    rng, found, errors = np.random.default_rng(0), [], []
    dense = LOSSES["dense"]
    noisy = CURVE + 3 * (CURVE - CURVE.mean(1, keepdims=True) - dense + dense.mean())
    truth = fitted(points(noisy, dense)).s0
    for _ in range(60):
        chosen = rng.integers(noisy.shape[1], size=noisy.shape[1])
        drawn = points(noisy[:, chosen], dense[chosen])
        best = fitted(drawn)
        errors.append(window_errors(best, drawn, draws=60))
        found.append(best.s0)
    check_coverage(found, errors, truth)


def fitted(curve_points):
    form = DenseLimit((1,), curve_points.dense)
    return fit(form, curve_points.s, curve_points.y, curve_points.weights)


def test_fits_carry_the_errors_over_windows(frame):
    row = fit_curves(frame, draws=50).iloc[0]
    assert row["form"] == "dense limit"
    assert 0 < row["s0_stderr_windows"] < 0.01
    assert row["s0_windows_low"] <= row["s0"] <= row["s0_windows_high"]
    assert np.isnan(row["s0_stderr_draws"])
    assert row["aicc_quadratic"] > row["aicc"]
    without = fit_curves(frame.drop(columns="sample"), draws=50).iloc[0]
    assert np.isnan(without["s0_stderr_windows"])
    assert without["s0"] == row["s0"]


def test_seeds_are_the_error_over_draws(tmp_path):
    paths = [kept_cells.write(tmp_path, "dense", LOSSES["dense"])]
    for seed, shift in enumerate((0.0, 0.02, -0.02)):
        paths += curve(tmp_path, seed=f",seed={seed}", shift=shift)
    fits = fit_curves(kept_cells.frame(*paths), draws=20)
    assert list(fits["settings"]) == ["seed=0", "seed=1", "seed=2"]
    assert fits["s0_stderr_draws"].tolist() == pytest.approx([fits["s0"].std()] * 3)


def test_a_seed_that_is_left_out_as_the_default_is_a_draw():
    same = {"model": "m", "method": "wanda+lora", "evaluation": "e", "score": "perplexity"}
    seeds = ["", "seed=1", "seed=2"]
    fits = pd.DataFrame([{**same, "settings": s, "s0": x} for s, x in zip(seeds, (0.6, 0.65, 0.7))])  # noqa: B905
    assert with_draw_errors(fits)["s0_stderr_draws"].tolist() == pytest.approx([0.05] * 3)
    assert with_draw_errors(fits[:1])["s0_stderr_draws"].isna().all()


def test_levels_of_other_protocols_make_no_curve(tmp_path):
    paths = curve(tmp_path, levels=LEVELS[:-1])
    last = kept_cells.write(tmp_path, "magnitude@0.8", CURVE[-1], dtype="float16")
    with pytest.raises(MeltpointError, match="'dtype' is 'float32' and 'float16'"):
        fit_curves(kept_cells.frame(*paths, last), draws=20)


def test_a_held_out_level_is_predicted(frame):
    found = predict_held_out(frame, [0.4], draws=40)
    assert len(found) == 1
    row = found.iloc[0]
    assert row["points"] == 7
    assert row["measured"] == pytest.approx(CURVE[3].mean())
    assert row["error"] == pytest.approx(row["predicted"] - row["measured"])
    assert abs(row["error"]) < 0.03
    assert row["covered"] == (row["low"] <= row["measured"] <= row["high"])
    assert row["curve_coverage"] == row["covered"]


def test_a_level_that_is_known_badly_has_a_wider_prediction():
    rough = points(CURVE, LOSSES["dense"])
    low, high = prediction_interval(
        fitted(rough), rough, np.array([0.45, 0.45]), np.array([1.0, 0.01]), draws=40, seed=0
    )
    assert high[1] - low[1] > 3 * (high[0] - low[0])


def test_a_level_far_beyond_the_others_is_seen_not_to_be_predicted(frame):
    row = predict_held_out(frame, [0.8], draws=20).iloc[0]
    assert row["error"] < -0.5
    assert not row["covered"]


def test_intervals_of_predictions_cover():
    """Broken curves with noise: 12 predictions of one level."""
    rng, covered = np.random.default_rng(0), []
    s = np.arange(2, 19) / 20
    truth = np.log(10) + 2 * s**2 + np.where(s > 0.6, 6 * (s - 0.6), 0)
    for _ in range(12):
        cells = synthetic(s, np.exp(truth + rng.normal(0, 0.02, len(s))))
        covered.append(predict_held_out(cells, [0.5], draws=30)["covered"].iloc[0])
    print(f"{np.mean(covered):.0%} of the intervals cover")
    assert np.sum(covered) >= 9


def synthetic(s, values):
    facts = {
        "model": "m",
        "method": "x",
        "settings": "",
        "evaluation": "ppl",
        "score": "perplexity",
    }
    levels = [f"{level:g}" for level in s]
    frame = pd.DataFrame({"level": levels, "value": values, "chain": [f"x@{x}" for x in levels]})
    return frame.assign(**facts, status="ok", stderr=np.nan, kind="x")


def test_too_few_levels_are_left(frame):
    with pytest.raises(
        MeltpointError, match=r"predict.hold_out: magnitude has 5 levels left to fit"
    ):
        predict_held_out(frame, [0.2, 0.3, 0.4])
