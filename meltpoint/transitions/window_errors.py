"""Errors of a transition point from the windows, or documents, that a score is measured on."""

import numpy as np

from meltpoint.transitions.falls import Fade, Fall
from meltpoint.transitions.intervals import Fit, profile
from meltpoint.transitions.points import Points
from meltpoint.transitions.searches import search_all

COLUMNS = ("s0_stderr_windows", "s0_windows_low", "s0_windows_high")
HALF = ("s_half", "s_half_low", "s_half_high")
# Fewer units are too few for a bootstrap: five have 126 different draws.
LEAST = 5


def window_errors(best: Fit | None, points: Points, draws: int = 300, seed: int = 0) -> dict:
    """The columns `COLUMNS` and `HALF` of a fit: a bootstrap of the curve over windows or documents.

    Each draw takes the same windows at all levels and of dense, as all levels are measured on them, and
    the chosen form is fitted anew. Intervals are of the 2.5 and 97.5 percentiles. `s_half` is where
    half of the dense model's advantage over chance is left. A column is NaN without a transition,
    without such an advantage, or where the windows' scores are not known or fewer than `LEAST`.
    """
    nothing = dict.fromkeys((*COLUMNS, *HALF), np.nan)
    if best is None:
        return nothing
    falls = isinstance(best.form, Fall | Fade)
    if falls:
        half = float(best.form.half(np.array([best.point]))[0])
        # Values beyond the last level would be extrapolated, so they do not count.
        seen = half <= points.s[-1]
        nothing["s_half"] = half if seen else np.nan
    if not (falls or best.form.transition) or points.units is None or too_few(points):
        return nothing
    targets = resampled(best, points, draws, seed)
    if falls:
        scale = np.sqrt(points.weights)
        weighted = targets * scale[:, None]
        refits = search_all(best.form, points.s, points.y, scale, weighted)[0]
        if seen:
            nothing |= dict(zip(HALF[1:], percentiles(best.form.half(refits)), strict=True))
        found = refits[:, 0]
    else:
        found = refitted(best, points, targets)
    if not best.form.transition:
        return nothing
    errors = (float(found.std(ddof=1)), *percentiles(found))
    return nothing | dict(zip(COLUMNS, errors, strict=True))


def too_few(points: Points) -> str:
    """Reason why there is no error over the units; "" if there can be one."""
    if points.units is None or points.units.shape[1] >= LEAST:
        return ""
    number = points.units.shape[1]
    return f"no error over {number} windows or documents: {LEAST} are needed"


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def resampled(best: Fit, points: Points, draws: int, seed: int) -> np.ndarray:
    """The fitted scale's y [levels, draws], each draw over units that are drawn with replacement."""
    units = points.units.shape[1]
    rng = np.random.default_rng(seed)
    shares = rng.multinomial(units, np.full(units, 1 / units), size=draws).T / units
    dense = None if points.dense_units is None else points.dense_units @ shares
    if dense is not None and not isinstance(best.form, Fall | Fade):
        # Only the change of the dense score counts: its value is a condition of the form.
        dense = dense - points.dense_units.mean()
    return points.scale.resampled(points.units @ shares, dense, best.form)


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
