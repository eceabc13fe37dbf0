"""Scores of the distance of a model from the dense model, with their standard errors over windows.

The standard error of a quantile is Woodruff's (Journal of the American Statistical Association 47,
1952): the error of the share of tokens below the quantile, divided by the density of tokens there.
"""

from __future__ import annotations

from meltpoint.evaluations.contract import Estimate, Kept, ScoreSpec
from meltpoint.evaluations.windows import error_of_mean
from meltpoint.lazy_import import numpy as np

KL, MEANS = "kl.npy", "fidelity.npy"
keeps = (KL, MEANS)
QUANTILES = {"kl_p99": 0.99, "kl_p999": 0.999}
NOTHING = "the dense model cannot be compared with: its cell does not apply, or it has other tokens"


def scores(suffix: str) -> tuple[ScoreSpec, ...]:
    """Specs of the scores; `suffix` ends their labels."""
    return (
        ScoreSpec("kl", "nats", "lower", f"KL divergence{suffix}", "nats"),
        ScoreSpec("kl_p99", "nats", "lower", f"99 % quantile of KL divergence{suffix}", "nats"),
        ScoreSpec("kl_p999", "nats", "lower", f"99.9 % quantile of KL divergence{suffix}", "nats"),
        ScoreSpec("kl_reverse", "nats", "lower", f"reverse KL divergence{suffix}", "nats"),
        ScoreSpec("top1_agreement", "fraction", "higher", f"top-1 agreement{suffix}"),
        ScoreSpec(
            "probability_rms", "probability", "lower", f"RMS change of the probability{suffix}"
        ),
    )


def of_dense(windows: int, tokens: int) -> Kept:
    """Arrays that are kept for the dense model itself: no divergence, and full agreement."""
    means = np.zeros((3, windows))
    means[1] = 1
    return {KL: np.zeros((windows, tokens), np.float32), MEANS: means}


def estimate(kept: Kept) -> dict[str, Estimate]:
    """The scores by name, computed from the kept arrays; all are refused if these are empty.

    `kl.npy` holds the divergence of each scored token in nats, float32 [windows, tokens]. The rows of
    `fidelity.npy`, float64 [3, windows], are each window's means of the reverse divergence, of the
    agreement, and of the squared change of the true token's probability.
    """
    kl = kept.get(KL)
    if kl is None or not kl.size:
        return {spec.name: Estimate(refused=NOTHING) for spec in scores("")}
    reverse, agreement, squares = kept[MEANS]
    return {
        "kl": mean(kl.astype(np.float64).mean(axis=1)),
        **{name: quantile(kl, share) for name, share in QUANTILES.items()},
        "kl_reverse": mean(reverse),
        "top1_agreement": mean(agreement),
        "probability_rms": root_mean(squares),
    }


def mean(units: np.ndarray) -> Estimate:
    """Mean of one number for each window, float64 [windows], with its standard error."""
    return Estimate(float(units.mean()), error_of_mean(units), units=units)


def root_mean(squares: np.ndarray) -> Estimate:
    """Root of the mean of squares [windows]; the mean's error is taken through the root.

    That is the delta method: the units are the squares over twice the root.
    """
    value = float(np.sqrt(squares.mean()))
    if value == 0:
        return mean(np.zeros_like(squares))
    units = squares / (2 * value)
    return Estimate(value, error_of_mean(units), units=units)


def quantile(values: np.ndarray, share: float) -> Estimate:
    """Quantile over all tokens, interpolated linearly, with Woodruff's standard error.

    values: [windows, tokens]. share: the quantile's place, 0 to 1. The units linearise the quantile:
    the share of a window's tokens above it, divided by the density. The error is NaN if a value is not
    finite.
    """
    tokens = np.sort(values, axis=None).astype(np.float64)
    value = _at(tokens, share)
    if not np.isfinite(tokens[-1]):
        nothing = np.full(len(values), np.nan)
        return Estimate(value, float("nan"), units=nothing)
    above = (values > value).mean(axis=1)
    spread = error_of_mean(above)
    low, high = max(share - spread, 0.0), min(share + spread, 1.0)
    if low == high:
        return mean(np.full(len(values), value))
    units = value + (above - above.mean()) * (_at(tokens, high) - _at(tokens, low)) / (high - low)
    return Estimate(value, error_of_mean(units), units=units)


def _at(ordered: np.ndarray, share: float) -> float:
    """Quantile of numbers in ascending order; equal neighbours may be infinite."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    if ordered[below] == ordered[above]:
        return float(ordered[below])
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
