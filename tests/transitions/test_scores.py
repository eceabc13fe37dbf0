"""Transition points of other scores than perplexity: divergences in nats, and accuracies."""

from functools import partial

import numpy as np
import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._tasks.samples import floors
from meltpoint.transitions import window_errors
from meltpoint.transitions.falls import Fade, Fall, fade, fall, share_left
from meltpoint.transitions.fit import fit_curves, fit_points, predict
from meltpoint.transitions.forms import DenseLimit
from meltpoint.transitions.intervals import fit
from meltpoint.transitions.points import Points
from meltpoint.transitions.scales import NatsScale, ShareScale
from meltpoint.verify import outputs
from meltpoint.verify.record import Shown
from meltpoint.verify.tally import RECOMPUTED, Tally
from tests.support import kept_answers, kept_cells
from tests.support.coverage import check_coverage

LEVELS = np.arange(1, 9) / 10
FINE = np.arange(2, 19) / 20
CHANCE = 0.5


def answers(rng, accuracies, documents=300):
    """Answers [levels, documents] of documents whose difficulty is the same at all levels."""
    difficulty = rng.uniform(size=documents)
    noise = rng.uniform(size=(len(accuracies), documents))
    blend = np.where(rng.uniform(size=noise.shape) < 0.7, difficulty, noise)
    return blend < np.asarray(accuracies)[:, None]


def accuracy(s, dense=0.9, s0=0.5, beta=4.0):
    """Accuracy that falls on a straight line from s0 on, to chance."""
    return CHANCE + (dense - CHANCE) * fall("linear", s, s0, 0.0, beta)


def frame_of_answers(folder, right, levels=LEVELS):
    """The frame of a curve whose first row of answers is that of dense."""
    base = {"quiz": right[0]}
    paths = [kept_answers.write(folder, "dense", base)]
    for level, each in zip(levels, right[1:], strict=True):
        paths.append(kept_answers.write(folder, f"wanda@{level:g}", {"quiz": each}, base))
    return kept_cells.frame(*paths), paths


@pytest.fixture(scope="module")
def quiz(tmp_path_factory):
    """A curve of 600 documents that breaks at 0.5, as a frame."""
    folder = tmp_path_factory.mktemp("quiz")
    right = answers(np.random.default_rng(0), accuracy(np.r_[0, LEVELS]), 600)
    return folder, *frame_of_answers(folder, right)


def test_an_accuracy_has_a_transition_point_with_its_error_over_documents(quiz):
    row = fit_curves(quiz[1], draws=60, scores=["answers.quiz.acc"]).iloc[0]
    assert (row["score"], row["form"], row["floor"]) == ("quiz.acc", "linear fall", CHANCE)
    assert row["s0"] == pytest.approx(0.5, abs=0.02)
    assert row["s0_low"] <= 0.5 <= row["s0_high"]
    assert 0 < row["s0_stderr_windows"] < 0.04
    assert row["s0_windows_low"] <= row["s0"] <= row["s0_windows_high"]
    assert row["s_half"] == pytest.approx(0.625, abs=0.02)
    assert row["s_half_low"] < row["s_half"] < row["s_half_high"]
    assert predict(row, 0.0) == pytest.approx(row["dense"])
    assert predict(row, row["s0"]) == pytest.approx(row["value_at_s0"])
    assert predict(row, 1.0) == CHANCE


def test_only_the_scores_that_are_named_are_fitted(quiz):
    assert fit_curves(quiz[1], draws=5).empty


def test_fits_of_other_scores_are_verified(quiz, monkeypatch):
    folder, frame, paths = quiz
    chains = [path.parent.name for path in paths]
    cells = [("demo", chain, "answers") for chain in chains]
    keys = {"scores": ["answers.quiz.acc"]}
    shown = Shown(cells=cells, steps=kept_cells.steps(*chains[1:]), keys=keys)
    fits = fit_curves(frame, **keys, draws=20)
    monkeypatch.setattr(outputs, "fit_curves", partial(fit_curves, draws=20))
    path = folder / "transitions/swept.csv"
    path.parent.mkdir()
    fits.assign(s_half=fits["s_half"] + 0.01).to_csv(path, index=False)
    tally = Tally()
    outputs.verify_transitions(folder, "swept", shown, tally)
    assert tally.counts[RECOMPUTED] == len(fits.columns)
    assert [each[: each.index(" is ")] for each in tally.differences] == [
        "transitions/swept.csv, row 1, s_half"
    ]


def test_a_model_that_guesses_has_no_curve(tmp_path):
    right = np.random.default_rng(0).uniform(size=(9, 60)) < CHANCE
    row = fit_curves(frame_of_answers(tmp_path, right)[0], scores=["answers.quiz"]).iloc[0]
    assert row["form"] == ""
    assert row["warning"].endswith("is not above chance, 0.5")


def test_documents_that_are_gone_are_named(quiz, tmp_path):
    folder = tmp_path / "copy"
    right = answers(np.random.default_rng(0), accuracy(np.r_[0, LEVELS]), 20)
    _, paths = frame_of_answers(folder, right)
    kept = paths[3].with_name("answers.samples.jsonl")
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(MeltpointError, match=r"samples\.jsonl is not what .*another shape"):
        kept_cells.frame(*paths)
    kept.unlink()
    with pytest.raises(MeltpointError, match=r"samples\.jsonl is missing, and paired"):
        kept_cells.frame(*paths)


def test_chance_is_that_of_a_documents_choices():
    def sample(task, choices, **keys):
        return {"task": task, "acc": 1.0, "loglikelihoods": [-1.0] * choices, **keys}

    kept = [sample("a", 2), sample("a", 4), sample("b", 4, groups=["g"])]
    kept.append({"task": "t", "score": 1.0, "text": "free"})
    found = floors(kept, ["a", "g", "t"])
    assert (found["a"], found["a.acc"], found["g"], found["t"]) == (0.375, 0.375, 0.25, 0)
    assert found["mean"] == pytest.approx(0.625 / 3)


FALLS = [
    (Fall("linear", False), {"s0": 0.43, "beta": 3.0}),
    (Fall("linear", True), {"s0": 0.43, "a": 0.4, "alpha": 1.0, "beta": 4.0}),
    (Fall("exponential", False), {"s0": 0.43, "beta": 5.0}),
    (Fall("exponential", True), {"s0": 0.43, "a": 0.4, "alpha": 1.0, "beta": 6.0}),
    (Fade("smooth sigmoid"), {"a": 4.0, "alpha": 2.5}),
    (Fade("smooth loss"), {"a": 0.8, "alpha": 2.0}),
]


@pytest.mark.parametrize(("form", "truth"), FALLS, ids=lambda x: getattr(x, "name", ""))
def test_each_form_of_accuracy_gives_back_its_own_curve(form, truth):
    names = ("s0", "a", "alpha", "beta")
    y = share_left(form.name, FINE, *(truth.get(name, np.nan) for name in names))
    found = fit(form, FINE, y, np.ones(len(FINE)))
    assert np.sqrt(found.rss / len(FINE)) < 2e-3
    again = share_left(form.name, FINE, *(found.parameters.get(name, np.nan) for name in names))
    np.testing.assert_allclose(again, found.fitted, atol=1e-9)
    for name, value in truth.items():
        assert found.parameters[name] == pytest.approx(value, rel=0.1, abs=0.01)
    half = form.half(np.array([found.point]))[0]
    assert share_left(form.name, half, *(found.parameters.get(n, np.nan) for n in names)) == (
        pytest.approx(0.5)
    )


def test_a_smooth_loss_of_accuracy_has_no_s0_but_a_half():
    rng = np.random.default_rng(0)
    y = fade("smooth sigmoid", LEVELS, 8.0, 3.0) + rng.normal(0, 0.01, 8)
    points = Points(LEVELS, y, np.ones(8), None, scale=ShareScale(1.0, 0.0))
    row = fit_points(points, ShareScale.forms, draws=50)
    assert row["form"] == "smooth sigmoid"
    assert np.isnan([row["s0"], row["s0_low"]]).all()
    assert row["s_half"] == pytest.approx(0.5, abs=0.02)


def test_the_interval_over_documents_covers():
    """40 sets of 300 documents that are drawn anew: the interval of the half, and that of s0.

    150 sets with 200 draws each: the interval of the half covered 95 %, that of s0 95 %.
    """
    rng, truth = np.random.default_rng(0), accuracy(np.r_[0, LEVELS])
    form, halves, inside, claimed, inside_s0 = Fall("linear", False), [], [], [], []
    for _ in range(40):
        right = answers(rng, truth).astype(float)
        scale = ShareScale(right[0].mean(), CHANCE)
        y = scale.y(right[1:].mean(1))
        points = Points(
            LEVELS, y, np.ones(8), None, units=right[1:], dense_units=right[0], scale=scale
        )
        best = fit(form, LEVELS, y, points.weights)
        errors = window_errors.window_errors(best, points, draws=60)
        halves.append(errors["s_half"])
        claimed.append((errors["s_half_high"] - errors["s_half_low"]) / 3.92)
        inside.append(errors["s_half_low"] <= 0.625 <= errors["s_half_high"])
        inside_s0.append(errors["s0_windows_low"] <= 0.5 <= errors["s0_windows_high"])
    print(f"half: sd {np.std(halves):.4f}, claimed {np.mean(claimed):.4f}")
    print(f"covered: half {np.mean(inside):.0%}, s0 {np.mean(inside_s0):.0%}")
    assert np.mean(claimed) == pytest.approx(np.std(halves), rel=0.35)
    assert np.mean(inside) >= 0.85
    assert np.mean(inside_s0) >= 0.85


def divergences(rng, windows=100):
    """Divergences [levels, windows] that break at 0.6, whose windows keep their difficulty."""
    means = 0.3 * LEVELS**2 + 4 * np.maximum(LEVELS - 0.6, 0)
    return means[:, None] * rng.gamma(20, 1 / 20, windows) * rng.gamma(60, 1 / 60, (8, windows))


def test_a_divergence_has_the_laws_of_perplexity_and_its_interval_covers():
    """15 sets of windows: s0 of the form that is fitted to many windows is inside."""
    rng, errors, found = np.random.default_rng(0), [], []
    even = np.ones(8)

    def fitted(units):
        points = Points(LEVELS, units.mean(1), even, 1.0, units=units, scale=NatsScale())
        return points, fit(DenseLimit((1,), 1.0), LEVELS, points.y, even)

    truth = fitted(divergences(rng, 20000))[1].s0
    for _ in range(15):
        points, best = fitted(divergences(rng))
        errors.append(window_errors.window_errors(best, points, draws=40))
        found.append(best.s0)
    check_coverage(found, errors, truth)


def test_fewer_than_five_windows_have_no_error():
    units = divergences(np.random.default_rng(0), 4)
    points = Points(LEVELS, units.mean(1), np.ones(8), 1.0, units=units, scale=NatsScale())
    row = fit_points(points, NatsScale.forms, draws=20)
    assert np.isnan(row["s0_stderr_windows"])
    assert "no error over 4 windows or documents: 5 are needed" in row["warning"]
