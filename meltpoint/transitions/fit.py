"""Transition points: the sparsity s0 at which a curve's score turns from gradual loss into collapse.

Three forms compete by AICc on log perplexity (`meltpoint.transitions.forms`): the published power law,
the power law with a dense limit, and smooth curves without a transition. If a smooth curve wins, no
transition is claimed. s0 depends on the form, so a row keeps its values under both forms with a
transition besides the chosen one. Divergences and accuracies have forms of their own
(`meltpoint.transitions.scales`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from meltpoint.analysis.draws import SEED
from meltpoint.chain import without
from meltpoint.evaluations.contract import PERPLEXITY
from meltpoint.transitions.falls import share_left
from meltpoint.transitions.forms import PARAMETERS, evaluate
from meltpoint.transitions.intervals import Fit, fit, interval, smooth_p
from meltpoint.transitions.points import Points, dense_cells_of, dense_of, points_of, sweeps
from meltpoint.transitions.reservations import warnings
from meltpoint.transitions.scales import (
    FORMS,
    LogScale,
    NatsScale,
    Scale,
    ShareScale,
    candidates,
    quadratic,
)
from meltpoint.transitions.window_errors import window_errors

PUBLISHED_FORM = ("power law",)
# A transition is claimed if at most this share of curves simulated from the best smooth fit looks as
# broken as the data. AICc alone would not do, as s0 is no regular parameter: on 17 levels and more it
# takes 10 to 20 % of noisy smooth curves for broken, and on 8 levels it accepts a smooth curve that
# misses the points by half.
SIGNIFICANCE = 0.01
# Difference of AICc up to which a second form with a transition still has support (Burnham and
# Anderson 2002). The interval of s0 then covers both forms.
SUPPORT = 10.0
GROUP = ("model", "method", "settings", "evaluation", "score")
COLUMNS = [
    *("family", "method", "s0_published", "s0", "s0_low", "s0_high", "form", "warning"),
    *("model", "settings", "evaluation", "score", "dense", "floor", *PARAMETERS, "value_at_s0"),
    *("aicc", "aicc_runner_up", "rmse_log", "points", "p_smooth"),
    *("s0_power_law", "s0_dense_limit", "aicc_quadratic"),
    *("s0_stderr_windows", "s0_windows_low", "s0_windows_high", "s0_stderr_draws"),
    *("s_half", "s_half_low", "s_half_high"),
]


def fit_curves(
    frame: pd.DataFrame,
    group: Sequence[str] = GROUP,
    forms: Sequence[str] = FORMS,
    published: Mapping[str, float] | None = None,
    draws: int = 300,
    seed: int = 0,
    scores: Sequence[str] = (),
) -> pd.DataFrame:
    """Fits every curve; one row per curve with the columns `COLUMNS`, NaN where a value is missing.

    frame: the tidy frame. Only rows with a numeric sparsity are points; the dense value is their limit.
    scores: names `evaluation.score` to fit besides all perplexities; they need the column `sample`.
    forms: names of the forms that compete for perplexity. Only `PUBLISHED_FORM` gives values of s0
    that compare with published ones.
    published: s0 by method, for the column `s0_published`.
    draws, seed: number of simulated curves behind intervals and tests, and their random seed.

    `s0_low` and `s0_high` are the ends of the 95 % interval of s0 under the chosen form. The interval
    also covers the other form with a transition if AICc supports it (`SUPPORT`).
    """
    rows = []
    for keys, cells in sweeps(frame, scores).groupby(list(group), sort=False, dropna=False):
        row = dict(zip(group, keys, strict=True)) | {"family": cells["kind"].iloc[0]}
        row["s0_published"] = (published or {}).get(row["method"], np.nan)
        dense = dense_of(frame, cells)
        points = points_of(cells, dense, dense_cells_of(frame, cells))
        row |= {"dense": np.nan if dense is None else dense}
        row["floor"] = points.scale.floor
        rows.append(row | fit_points(points, forms_of(points.scale, forms), draws, seed))
    return with_draw_errors(pd.DataFrame(rows).reindex(columns=COLUMNS))


def with_draw_errors(fits: pd.DataFrame) -> pd.DataFrame:
    """A copy of the fits with `s0_stderr_draws`, the standard deviation of s0 over calibration seeds.

    Curves belong together if their settings differ in the seed alone. Settings without a seed mean the
    default seed. The value is NaN for a single seed, and if one of the curves has no transition point.
    """
    settings = fits["settings"].astype(object).fillna("")
    left = settings.map(lambda text: without(text, SEED))
    same = [fits[key] for key in ("model", "method", "evaluation", "score")]
    swept = (left != settings).groupby([*same, left], dropna=False).transform("any")
    spread = (
        fits["s0"]
        .where(swept)
        .groupby([*same, left], dropna=False)
        .transform(lambda v: v.std(ddof=1, skipna=False))
    )
    return fits.assign(s0_stderr_draws=spread)


def forms_of(scale: Scale, forms: Sequence[str]) -> Sequence[str]:
    """Names of the forms that compete for a curve: `forms` for perplexity, else those of its scale."""
    return forms if scale.name == "log" else scale.forms


def predict(row: Mapping, s: ArrayLike) -> np.ndarray:
    """Score at sparsities s, of their shape, by the curve of a row of `fit_curves`; NaN without one."""
    return scale_of_row(row).value(law(row, s))


def scale_of_row(row: Mapping) -> Scale:
    """Scale of a row of `fit_curves`. A row of a published curve has no score: it is a perplexity."""
    if np.isfinite(row.get("floor", np.nan)):
        return ShareScale(row["dense"], row["floor"])
    score = row.get("score")
    return NatsScale() if isinstance(score, str) and score != PERPLEXITY else LogScale()


def law(row: Mapping, s: ArrayLike) -> np.ndarray:
    """Values of a row's form at sparsities s, in the units that were fitted (log perplexity, say)."""
    if isinstance(scale_of_row(row), ShareScale):
        return share_left(row["form"], s, *(row[name] for name in ("s0", "a", "alpha", "beta")))
    return evaluate(row["form"], s, *(row[name] for name in ("s0", *PARAMETERS)))


def fit_points(
    points: Points, forms: Sequence[str] = FORMS, draws: int = 300, seed: int = 0
) -> dict:
    """The fitted part of a row of `fit_curves` for the points of one curve, as a dict."""
    if points.no_fit:
        return describe(None, points) | {"warning": f"no fit: {points.no_fit}"}
    data = points.s, points.y, points.weights
    best, fits, p = best_fit(points, forms, draws, seed)
    rivals = [fits[name] for name in forms if supported(fits[name], best)]
    ends = hull([interval(rival, *data, draws=draws, seed=seed) for rival in rivals])
    row = describe(best, points) | {"s0_low": ends[0], "s0_high": ends[1], "p_smooth": p}
    row |= window_errors(best, points, draws, seed)
    if not isinstance(points.scale, ShareScale):
        row["aicc_quadratic"] = aicc_of(fit(quadratic(points.dense), *data))
    row |= {f"s0_{name.replace(' ', '_')}": place(fits.get(name)) for name in FORMS[:2]}
    others = [f.aicc for name, f in fits.items() if f and f is not best and name in forms]
    row["aicc_runner_up"] = min(others, default=np.nan)
    windows = row["s0_windows_low"], row["s0_windows_high"]
    return row | {"warning": "; ".join(warnings(best, fits, points, ends, windows))}


def best_fit(
    points: Points, forms: Sequence[str] = FORMS, draws: int = 300, seed: int = 0
) -> tuple[Fit | None, dict[str, Fit | None], float]:
    """The chosen fit of a curve, the best fit of each form by name, and the p value of `smooth_p`."""
    data = points.s, points.y, points.weights
    rivals = {
        name: candidates(name, points.dense, points.scale)
        for name in dict.fromkeys([*points.scale.forms, *forms])
    }
    fits = {name: least([fit(form, *data) for form in rivals[name]]) for name in rivals}
    p = smooth_test(fits, forms, points, draws, seed)
    return choose(fits, forms, p), fits, p


def choose(fits: Mapping[str, Fit | None], forms: Sequence[str], p: float) -> Fit | None:
    """The smooth fit if p does not rule it out, else the fit with a transition of least AICc."""
    broken = least([fits[name] for name in forms if name != "smooth"])
    if "smooth" not in forms or (broken and p <= SIGNIFICANCE):
        return broken
    return fits["smooth"] or broken


def smooth_test(
    fits: Mapping[str, Fit | None], forms: Sequence[str], points: Points, draws: int, seed: int
) -> float:
    """`smooth_p` of a curve's points; NaN if no smooth form competes or there are too few points."""
    limit, scale = points.dense, points.scale
    broken = [c for name in forms if name != "smooth" for c in candidates(name, limit, scale)]
    data = points.s, points.y, points.weights
    if "smooth" not in forms or not fits["smooth"] or min(c.count for c in broken) > len(points.s):
        return np.nan
    smooth = candidates("smooth", limit, scale)
    # With fewer draws even the smallest possible p would be above the significance level.
    draws = max(draws, round(1 / SIGNIFICANCE) - 1)
    return smooth_p(fits["smooth"], smooth, broken, *data, draws=draws, seed=seed)


def supported(rival: Fit | None, best: Fit | None) -> bool:
    """True if a form's interval of s0 counts: it has a transition, and AICc supports it."""
    if not best or not rival or not best.form.transition or not rival.form.transition:
        return False
    return rival is best or rival.aicc <= best.aicc + SUPPORT


def hull(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Low and high end of the smallest interval that covers all; NaN and NaN without any."""
    if not ends:
        return np.nan, np.nan
    return min(low for low, _ in ends), max(high for _, high in ends)


def least(fits: Sequence[Fit | None]) -> Fit | None:
    """The fit of least AICc; among those of infinite AICc, for want of points, the simplest."""
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
    scale = points.scale
    facts = {**row, "floor": scale.floor, "dense": points.dense}
    at_s0 = scale.value(law(facts, row["s0"]))
    return row | {
        "value_at_s0": float(at_s0),
        "aicc": best.aicc,
        "rmse_log": float(np.sqrt(np.mean((points.y - best.fitted) ** 2))),
        "points": len(points.s),
    }
