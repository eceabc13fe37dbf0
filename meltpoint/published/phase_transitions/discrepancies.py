"""Reasons why a refit gives another transition point than the published one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from meltpoint.transitions.forms import PowerLaw, evaluate
from meltpoint.transitions.intervals import fit
from meltpoint.transitions.points import Points, points_of

# Two values of s0 agree if their distance is less.
NEAR = 0.05
# Decimals at which a fitted parameter is a round number, and so set by hand or at a bound: they are
# printed with five or six, so that one in ten thousand is round by chance.
ROUND = {"s0": 2, "a": 0, "beta": 1}


@dataclass(frozen=True)
class Held(PowerLaw):
    """The published form with s0 held at a value."""

    s0: float = np.nan

    def axes(self, s: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """The only candidate for s0."""
        return [np.array([self.s0])]


def explain(row: pd.Series, star: pd.Series, frame: pd.DataFrame) -> str:
    """Sentences on why the s0 of a row differs from the published one; "" if they agree.

    star: the published parameters; frame: the cells of all curves.
    """
    if row["within"]:
        return ""
    points = points_of(frame[frame["method"] == row["method"]])
    said = (
        f"s0 is {abs(row['difference']):.3f} {'below' if row['difference'] < 0 else 'above'} the "
        f"published one. On these {len(points.s)} points the published curve misses log perplexity "
        f"by {miss_of_published(star, points):.3f} (root mean square), a refit with s0 held at the "
        f"published value by {miss_held_at(star['s0'], points):.3f}, and this fit by "
        f"{row['rmse_log']:.3f}."
    )
    return " ".join(filter(None, [said, quadratic(row, star, points), round_numbers(star)]))


def quadratic(row: pd.Series, star: pd.Series, points: Points) -> str:
    """A sentence if the published curve has a quadratic term and ours, by AICc, has none; else ""."""
    if row["gamma"] != 0 or star["gamma"] == 0:
        return ""
    without, full = (fit(PowerLaw(p), points.s, points.y, points.weights) for p in ((1,), (1, 2)))
    return (
        "The published curve has a quadratic term, for which AICc finds too few points "
        f"({full.aicc:.1f} with it, {without.aicc:.1f} without); with it s0 is {full.s0:.3f}."
    )


def miss_of_published(star: pd.Series, points: Points) -> float:
    """Root mean square error of the published curve, in log perplexity."""
    s0, *known = (star[name] for name in ("s0", "a", "alpha", "beta", "gamma"))
    curve = evaluate("power law", points.s, s0, np.nan, *known)
    return float(np.sqrt(np.mean((points.y - np.log(curve)) ** 2)))


def miss_held_at(s0: float, points: Points) -> float:
    """Root mean square error of the best published form with this s0, in log perplexity."""
    forms = (Held((1,), s0), Held((1, 2), s0), Held((2,), s0))
    fits = [fit(form, points.s, points.y, points.weights) for form in forms]
    return float(np.sqrt(min(curve.rss for curve in fits if curve) / len(points.s)))


def round_numbers(star: pd.Series) -> str:
    """A sentence on the published parameters that are round numbers; "" if there are none."""
    names = [name for name, decimals in ROUND.items() if is_round(star[name], decimals)]
    if not names:
        return ""
    listed = ", ".join(f"{name} = {star[name]:g}" for name in names)
    one = len(names) == 1
    return f"The published {listed} {'is a round number' if one else 'are round numbers'}: " + (
        "set by hand or at a bound of the fit."
    )


def is_round(value: float, decimals: int) -> bool:
    """True for a value with no more decimals than these."""
    return bool(np.isclose(value, round(value, decimals), rtol=0, atol=1e-6))
