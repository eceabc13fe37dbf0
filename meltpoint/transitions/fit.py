"""Transition points: where the perplexity of a curve turns from gradual loss into collapse.

Three forms compete by AICc on log perplexity (`meltpoint.transitions.forms`): the published power law,
the same with a dense limit, and smooth curves without a transition. Where a smooth one wins no
transition is claimed. s0 depends on the form, so both forms' values are kept beside the chosen one.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from meltpoint.analysis.draws import SEED
from meltpoint.chain import without
from meltpoint.transitions.forms import GRADUAL, PARAMETERS, DenseLimit, PowerLaw, evaluate
from meltpoint.transitions.intervals import Fit, fit, interval, smooth_p
from meltpoint.transitions.points import Points, dense_cells_of, dense_of, points_of, sweeps
from meltpoint.transitions.smooth_forms import BEND, Polynomial, Stretched, Unbroken
from meltpoint.transitions.window_errors import window_errors

FORMS = ("power law", "dense limit", "smooth")
PUBLISHED_FORM = ("power law",)
# A transition is claimed where curves drawn from the best smooth fit look broken more rarely than
# this. AICc alone would pass 10 to 20 % of noisy smooth curves for broken on 17 levels and more (s0
# is no regular parameter), and on 8 levels it would call a curve smooth that misses by half.
SIGNIFICANCE = 0.01
# AICc up to which a second form with a transition has any support (Burnham and Anderson 2002):
# the interval then covers the choice between the two.
SUPPORT = 10.0
POWERS = ((1,), (1, 2))
GROUP = ("model", "method", "settings", "evaluation")
COLUMNS = [
    *("family", "method", "s0_published", "s0", "s0_low", "s0_high", "form", "warning"),
    *("model", "settings", "evaluation", *PARAMETERS, "ppl_at_s0"),
    *("aicc", "aicc_runner_up", "rmse_log", "points", "p_smooth"),
    *("s0_power_law", "s0_dense_limit", "aicc_quadratic"),
    *("s0_stderr_windows", "s0_windows_low", "s0_windows_high", "s0_stderr_draws"),
]


def fit_curves(
    frame: pd.DataFrame,
    group: Sequence[str] = GROUP,
    forms: Sequence[str] = FORMS,
    published: Mapping[str, float] | None = None,
    draws: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per curve: the columns `COLUMNS`, with NaN for what a curve does not have.

    frame: cells of perplexity; only numeric sparsities enter a fit, the dense value as its limit.
    forms: those that compete; `PUBLISHED_FORM` alone gives what compares with published points.
    published: s0 by method, for the column `s0_published`.
    s0_low, s0_high: the 95 % interval of s0 under the chosen form, and under the other one with a
    transition where AICc cannot tell them apart (`SUPPORT`).
    """
    rows = []
    for keys, cells in sweeps(frame).groupby(list(group), sort=False, dropna=False):
        row = dict(zip(group, keys, strict=True)) | {"family": cells["kind"].iloc[0]}
        row["s0_published"] = (published or {}).get(row["method"], np.nan)
        points = points_of(cells, dense_of(frame, cells), dense_cells_of(frame, cells))
        rows.append(row | fit_points(points, forms, draws, seed))
    return with_draw_errors(pd.DataFrame(rows).reindex(columns=COLUMNS))


def with_draw_errors(fits: pd.DataFrame) -> pd.DataFrame:
    """The fits with `s0_stderr_draws`: the standard deviation of s0 over curves that differ in a seed.

    NaN where there is one seed, or where a seed's curve has no transition point.
    """
    settings = fits["settings"].fillna("")
    left = settings.map(lambda text: without(text, SEED))
    same = [fits[key] for key in ("model", "method", "evaluation")]
    s0 = fits["s0"].where(left != settings)
    spread = s0.groupby([*same, left], dropna=False).transform(
        lambda v: v.std(ddof=1, skipna=False)
    )
    return fits.assign(s0_stderr_draws=spread)


def predict(row: Mapping, s: ArrayLike) -> np.ndarray:
    """Perplexity of the fitted curve of a row of `fit_curves` at sparsities s; NaN without a fit."""
    return evaluate(row["form"], s, *(row[name] for name in ("s0", *PARAMETERS)))


def candidates(name: str, dense: float | None) -> list:
    """The variants of a form: without and with the quadratic term, or the two smooth curves."""
    if name == "power law":
        return [PowerLaw(powers) for powers in POWERS]
    if name == "dense limit":
        return [DenseLimit(powers, dense) for powers in POWERS]
    cubics = [Polynomial(powers, dense) for powers in ((1, 3), (2, 3), (1, 2, 3))]
    smooth = [Stretched(dense), quadratic(dense), *cubics]
    return [*smooth, Unbroken(dense), Unbroken(zero=True)]


def quadratic(dense: float | None) -> Polynomial:
    """The loss as a quadratic of the sparsity (Sengupta et al. 2025, arXiv 2504.04342, abstract)."""
    return Polynomial((1, 2), dense, monotone=False)


def fit_points(
    points: Points, forms: Sequence[str] = FORMS, draws: int = 300, seed: int = 0
) -> dict:
    """The fitted part of a row of `fit_curves` for the points of one curve, as a dict."""
    data = points.s, points.y, points.weights
    best, fits, p = best_fit(points, forms, draws, seed)
    rivals = [fits[name] for name in forms if supported(fits[name], best)]
    ends = hull([interval(rival, *data, draws=draws, seed=seed) for rival in rivals])
    row = describe(best, points) | {"s0_low": ends[0], "s0_high": ends[1], "p_smooth": p}
    row |= window_errors(best, points, draws, seed)
    row["aicc_quadratic"] = aicc_of(fit(quadratic(points.dense), *data))
    row |= {f"s0_{name.replace(' ', '_')}": place(fits[name]) for name in FORMS[:2]}
    others = [f.aicc for name, f in fits.items() if f and f is not best and name in forms]
    row["aicc_runner_up"] = min(others, default=np.nan)
    return row | {"warning": "; ".join(warnings(best, fits, points, ends))}


def best_fit(
    points: Points, forms: Sequence[str] = FORMS, draws: int = 300, seed: int = 0
) -> tuple[Fit | None, dict[str, Fit | None], float]:
    """The chosen fit of a curve, the best fit of each form, and `smooth_p`."""
    data = points.s, points.y, points.weights
    fits = {name: least([fit(c, *data) for c in candidates(name, points.dense)]) for name in FORMS}
    p = smooth_test(fits, forms, points, draws, seed)
    return choose(fits, forms, p), fits, p


def choose(fits: Mapping[str, Fit | None], forms: Sequence[str], p: float) -> Fit | None:
    """The fit of least AICc among those with a transition, or the smooth one if it explains all."""
    broken = least([fits[name] for name in forms if name != "smooth"])
    if "smooth" not in forms or (broken and p <= SIGNIFICANCE):
        return broken
    return fits["smooth"] or broken


def smooth_test(
    fits: Mapping[str, Fit | None], forms: Sequence[str], points: Points, draws: int, seed: int
) -> float:
    """`smooth_p` of the points of a curve; NaN where it is not asked for or cannot be said."""
    broken = [c for name in forms if name != "smooth" for c in candidates(name, points.dense)]
    data = points.s, points.y, points.weights
    if "smooth" not in forms or not fits["smooth"] or min(c.count for c in broken) > len(points.s):
        return np.nan
    smooth = candidates("smooth", points.dense)
    # Fewer draws could not reach the significance whatever the points say.
    draws = max(draws, round(1 / SIGNIFICANCE) - 1)
    return smooth_p(fits["smooth"], smooth, broken, *data, draws=draws, seed=seed)


def supported(rival: Fit | None, best: Fit | None) -> bool:
    """True for a form whose s0 belongs into the interval: the chosen one and its close rivals."""
    if not best or not rival or not best.form.transition or not rival.form.transition:
        return False
    return rival is best or rival.aicc <= best.aicc + SUPPORT


def hull(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The least interval that holds all; NaN for none."""
    if not ends:
        return np.nan, np.nan
    return min(low for low, _ in ends), max(high for _, high in ends)


def least(fits: Sequence[Fit | None]) -> Fit | None:
    """The fit of least AICc; of those that have none for want of points the simplest."""
    return min(filter(None, fits), key=lambda f: (f.aicc, f.form.count), default=None)


def aicc_of(fitted: Fit | None) -> float:
    """AICc of a fit; NaN without one."""
    return fitted.aicc if fitted else np.nan


def place(fitted: Fit | None) -> float:
    """s0 of a fit; NaN without one."""
    return fitted.s0 if fitted else np.nan


def describe(best: Fit | None, points: Points) -> dict:
    """Form, parameters and quality of the chosen fit."""
    if best is None:
        return {"form": "", "points": len(points.s)}
    row = dict.fromkeys(PARAMETERS, np.nan) | best.parameters | {"form": best.form.name}
    at_s0 = evaluate(row["form"], row["s0"], row["s0"], *(row[p] for p in PARAMETERS))
    return row | {
        "ppl_at_s0": float(at_s0),
        "aicc": best.aicc,
        "rmse_log": float(np.sqrt(np.mean((points.y - best.fitted) ** 2))),
        "points": len(points.s),
    }


def warnings(
    best: Fit | None, fits: Mapping[str, Fit | None], points: Points, ends: tuple[float, float]
) -> list[str]:
    """Phrases on the reasons to doubt s0."""
    phrases = []
    if points.left_out:
        phrases.append("left out: " + ", ".join(points.left_out))
    if best is None:
        return [*phrases, f"no fit: {len(points.s)} points"]
    if not best.form.transition:
        phrases.append("no transition: a smooth curve will do")
    else:
        phrases += [
            *grid_warnings(best.s0, points.s, ends),
            *form_warnings(best, fits, points, ends),
        ]
    rmse = np.sqrt(np.mean((points.y - best.fitted) ** 2))
    if rmse > 0.1:
        phrases.append(f"a poor fit, off by {rmse:.0%} of perplexity on average")
    return phrases


def grid_warnings(s0: float, s: np.ndarray, ends: tuple[float, float]) -> list[str]:
    """Where the levels cannot say where s0 is."""
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
    bend = fit(Stretched(points.dense, (GRADUAL, BEND)), points.s, points.y, points.weights)
    if bend and bend.aicc < best.aicc:
        power = bend.parameters["alpha"]
        phrases.append(f"a bend without a break, exp(c s^{power:.1f}), has a lower AICc")
    for name in FORMS[:2]:
        other = place(fits[name])
        if name != best.form.name and not (ends[0] <= other <= ends[1] or np.isnan(other)):
            phrases.append(f"{name}: s0 at {other:.2f}")
    return phrases
