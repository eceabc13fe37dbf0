"""Reservations: phrases on why a transition point may be elsewhere, or none at all."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from meltpoint.transitions.intervals import Fit, fit
from meltpoint.transitions.points import Points
from meltpoint.transitions.scales import ShareScale, bend
from meltpoint.transitions.window_errors import too_few

# Excess of the interval over windows or documents that is not worth a word.
SMALL = 0.01


def warnings(
    best: Fit | None,
    fits: Mapping[str, Fit | None],
    points: Points,
    ends: tuple[float, float],
    windows: tuple[float, float],
) -> list[str]:
    """Phrases on the reasons to doubt s0.

    ends: the interval of s0. windows: the interval over windows or documents alone, NaN without one.
    """
    phrases = []
    if points.left_out:
        phrases.append("left out: " + ", ".join(points.left_out))
    if best is None:
        return [*phrases, f"no fit: {len(points.s)} point{'s' * (len(points.s) != 1)}"]
    if not best.form.transition:
        phrases.append("no transition: a smooth curve will do")
    else:
        phrases += [
            *grid_warnings(best.s0, points.s, ends),
            *window_warnings(ends, windows),
            *form_warnings(best, fits, points, ends),
        ]
    rmse = np.sqrt(np.mean((points.y - best.fitted) ** 2))
    if rmse > 0.1:
        phrases.append(f"a poor fit, off by {rmse:.0%} {points.scale.residual} on average")
    return [*phrases, *filter(None, [too_few(points)])]


def grid_warnings(s0: float, s: np.ndarray, ends: tuple[float, float]) -> list[str]:
    """Phrases on levels that are too few or too coarse to place s0."""
    phrases = []
    low, high = ends
    step = max(b - a for a, b in pairwise(s) if b >= low and a <= high)
    if high - low >= step:
        phrases.append(f"grid too coarse: add levels between {low:.2f} and {high:.2f}")
    if min((s <= s0).sum(), (s > s0).sum()) < 3:
        phrases.append(f"{(s <= s0).sum()} levels below s0 and {(s > s0).sum()} above")
    if s0 <= s[1] + 1e-6 or s0 >= s[-2] - 1e-6:
        phrases.append("s0 at the edge of the levels")
    return phrases


def window_warnings(ends: tuple[float, float], windows: tuple[float, float]) -> list[str]:
    """A phrase on an interval over windows or documents that is not within the interval of s0."""
    low, high = windows
    if not (low < ends[0] - SMALL or high > ends[1] + SMALL):
        return []
    return [f"other texts move s0 beyond its interval, from {low:.2f} to {high:.2f}"]


def form_warnings(
    best: Fit, fits: Mapping[str, Fit | None], points: Points, ends: tuple[float, float]
) -> list[str]:
    """Phrases on other forms that fit better, or whose s0 is outside the interval."""
    phrases = []
    if not np.isfinite(best.aicc):
        phrases.append(f"too few points for a choice of form: {len(points.s)}")
    smooth = fits["smooth"]
    if smooth and smooth.aicc < best.aicc:
        phrases.append(
            f"a smooth curve has a lower AICc ({smooth.aicc:.1f} against {best.aicc:.1f})"
        )
    rival = fit(bend(points.dense, points.scale), points.s, points.y, points.weights)
    if rival and rival.aicc < best.aicc:
        power = rival.parameters["alpha"]
        curve = "1 / (1 + c s^{})" if isinstance(points.scale, ShareScale) else "exp(c s^{})"
        law = curve.format(f"{power:.1f}")
        phrases.append(f"a bend without a break, {law}, has a lower AICc")
    for name in points.scale.forms[:-1]:
        other = np.nan if fits[name] is None else fits[name].s0
        if name != best.form.name and not (ends[0] <= other <= ends[1] or np.isnan(other)):
            phrases.append(f"{name}: s0 at {other:.2f}")
    return phrases
