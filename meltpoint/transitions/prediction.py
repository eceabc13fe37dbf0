"""Prediction: a curve is fitted without some of its levels, and compared with what they measured."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from meltpoint.errors import MeltpointError
from meltpoint.transitions.fit import GROUP, best_fit, predict
from meltpoint.transitions.forms import PARAMETERS
from meltpoint.transitions.intervals import MINIMUM, Fit, fit, resample
from meltpoint.transitions.points import Points, dense_of, points_of, sweeps

COLUMNS = [
    *("model", "method", "settings", "evaluation", "level", "form", "s0", "points"),
    *("measured", "predicted", "low", "high", "error", "covered", "curve_rmse", "curve_coverage"),
]


def predict_held_out(
    frame: pd.DataFrame, hold_out: Sequence[float], draws: int = 100, seed: int = 0
) -> pd.DataFrame:
    """A row for each held-out level of each curve: the columns `COLUMNS`.

    frame: cells of perplexity. `measured` and `predicted` are log perplexities, `error` is the
    predicted less the measured one; `low` and `high` are the 95 % prediction interval (residual
    bootstrap of the chosen form), `covered` says whether it holds the measured value. `curve_rmse` and
    `curve_coverage` are over the held-out levels of a curve. Raises MeltpointError, naming the curve,
    where fewer than six levels are left to fit.
    """
    rows: list[dict] = []
    for keys, cells in sweeps(frame).groupby(list(GROUP), sort=False, dropna=False):
        points = points_of(cells, dense_of(frame, cells))
        place = dict(zip(GROUP, keys, strict=True))
        rows += predict_curve(points, hold_out, place, draws, seed)
    return pd.DataFrame(rows, columns=COLUMNS)


def predict_curve(
    points: Points, hold_out: Sequence[float], place: Mapping, draws: int, seed: int
) -> list[dict]:
    """The rows of one curve; `place` are its columns in the frame."""
    held = np.isclose(points.s[:, None], np.asarray(hold_out, float)).any(axis=1)
    if (~held).sum() < MINIMUM:
        raise MeltpointError(
            f"predict.hold_out: {place['method']} has {(~held).sum()} levels left to fit, and "
            f"{MINIMUM} are needed: hold out fewer"
        )
    kept = replace(
        points, s=points.s[~held], y=points.y[~held], weights=points.weights[~held], units=None
    )
    best = best_fit(kept, draws=draws, seed=seed)[0]
    predicted, measured = log_perplexity(best, points.s[held]), points.y[held]
    weights = points.weights[held]
    low, high = prediction_interval(best, kept, points.s[held], weights, draws, seed)
    error, covered = predicted - measured, (low <= measured) & (measured <= high)
    shared = {**place, "form": best.form.name, "s0": best.s0, "points": len(kept.s)}
    shared |= {"curve_rmse": np.sqrt((error**2).mean()), "curve_coverage": covered.mean()}
    columns = {"level": points.s[held], "measured": measured, "predicted": predicted}
    columns |= {"low": low, "high": high, "error": error, "covered": covered}
    return [
        shared | {key: value[index] for key, value in columns.items()}
        for index in range(held.sum())
    ]


def prediction_interval(
    best: Fit, points: Points, s: np.ndarray, weights: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % prediction intervals of log perplexity at sparsities s, of these weights.

    The chosen form is fitted to curves that are drawn at the fit with its residuals, and a residual is
    added to what each predicts (Davison and Hinkley 1997, Bootstrap Methods, section 6.3.3). Residuals
    are weighted ones: a level of small weight, whose perplexity is known badly, has a larger one.
    """
    scale = np.sqrt(points.weights)
    drawn = resample(best.fitted * scale, points.y * scale, best.form.count - 1, draws, seed)
    refits = [fit(best.form, points.s, y / scale, points.weights) for y in drawn.T]
    curves = np.array([log_perplexity(each, s) for each in refits if each is not None])
    residuals = (drawn - (best.fitted * scale)[:, None]).ravel()
    noise = np.random.default_rng(seed).choice(residuals, curves.shape)
    return tuple(np.percentile(curves + noise / np.sqrt(weights), [2.5, 97.5], axis=0))


def log_perplexity(fitted: Fit, s: np.ndarray) -> np.ndarray:
    """Log perplexity of a fitted form at sparsities s."""
    known = dict.fromkeys(("s0", *PARAMETERS), np.nan) | fitted.parameters
    return np.log(predict({"form": fitted.form.name, **known}, s))
