"""Errors of a transition point from the windows that perplexities are measured on."""

import numpy as np

from meltpoint.transitions.forms import DenseLimit
from meltpoint.transitions.intervals import Fit, profile
from meltpoint.transitions.points import Points

COLUMNS = ("s0_stderr_windows", "s0_windows_low", "s0_windows_high")


def window_errors(best: Fit | None, points: Points, draws: int = 300, seed: int = 0) -> dict:
    """The columns `COLUMNS` of a fit: a bootstrap over windows of the whole curve.

    Each draw takes the same windows at all levels and of dense, as all levels are measured on them, and
    the chosen form is fitted anew. The interval is of the 2.5 and 97.5 percentiles. NaN without a
    transition, or where the windows' losses are not known.
    """
    if best is None or not best.form.transition or points.losses is None:
        return dict.fromkeys(COLUMNS, np.nan)
    found = refitted(best, points, resampled(best, points, draws, seed))
    low, high = np.percentile(found, [2.5, 97.5])
    return dict(zip(COLUMNS, (float(found.std(ddof=1)), float(low), float(high)), strict=True))


def resampled(best: Fit, points: Points, draws: int, seed: int) -> np.ndarray:
    """Log perplexities [levels, draws] over windows that are drawn anew.

    Where dense is a condition of the form its own change is taken off: the form sees only log
    perplexities less that of dense.
    """
    windows = points.losses.shape[1]
    rng = np.random.default_rng(seed)
    shares = rng.multinomial(windows, np.full(windows, 1 / windows), size=draws).T / windows
    targets = points.losses @ shares
    conditioned = isinstance(best.form, DenseLimit) and best.form.dense is not None
    if conditioned and points.dense_losses is not None:
        targets -= points.dense_losses @ shares - points.dense_losses.mean()
    return targets


def refitted(best: Fit, points: Points, targets: np.ndarray) -> np.ndarray:
    """s0 of the form for each target [levels, draws], on a grid that narrows around what is found."""
    s, y, scale = points.s, points.y, np.sqrt(points.weights)
    limits = low, high = s[1], s[-1 - len(best.form.powers)]
    shape: list = [None]
    for _ in range(3):
        grid = np.unique(np.r_[np.linspace(*limits, 25), np.linspace(low, high, 41), best.s0])
        grid = grid[grid <= limits[1]]
        rss, shape = profile([best.form], s, y, scale, grid, targets * scale[:, None], shape)
        found = grid[rss.argmin(0)]
        margin = np.ptp(found) / 4 + 1e-3
        low, high = np.clip([found.min() - margin, found.max() + margin], *limits)
    return found
