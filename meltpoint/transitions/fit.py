"""Transition points: where the score of a curve turns from gradual loss into collapse.

Three forms compete by AICc on log perplexity (`meltpoint.transitions.forms`): the published power law,
the same with a dense limit, and smooth curves without a transition. Where a smooth one wins no
transition is claimed. s0 depends on the form, so both forms' values are kept beside the chosen one.
A divergence and an accuracy have forms of their own (`meltpoint.transitions.scales`).
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
# A transition is claimed where curves drawn from the best smooth fit look broken more rarely than
# this. AICc alone would pass 10 to 20 % of noisy smooth curves for broken on 17 levels and more (s0
# is no regular parameter), and on 8 levels it would call a curve smooth that misses by half.
SIGNIFICANCE = 0.01
# AICc up to which a second form with a transition has any support (Burnham and Anderson 2002):
# the interval then covers the choice between the two.
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
    """One row per curve: the columns `COLUMNS`, with NaN for what a curve does not have.

    frame: the tidy frame; only numeric sparsities enter a fit, the dense value as its limit. All
    perplexities are fitted, and `scores`, each `evaluation.score`, which need the column `sample`.
    forms: those that compete for perplexity; `PUBLISHED_FORM` alone gives what compares with published
    points.
    published: s0 by method, for the column `s0_published`.
    s0_low, s0_high: the 95 % interval of s0 under the chosen form, and under the other one with a
    transition where AICc cannot tell them apart (`SUPPORT`).
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
    """The fits with `s0_stderr_draws`: the standard deviation of s0 over curves that differ in a seed.

    A curve that leaves the seed out, as its default is spelled, is one of them. NaN where there is one
    seed, or where a seed's curve has no transition point.
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
    """The forms that compete for a curve: `forms` for perplexity, those of its scale for the others."""
    return forms if scale.name == "log" else scale.forms


def predict(row: Mapping, s: ArrayLike) -> np.ndarray:
    """Score of the fitted curve of a row of `fit_curves` at sparsities s; NaN without a fit."""
    return scale_of_row(row).value(law(row, s))


def scale_of_row(row: Mapping) -> Scale:
    """The scale of a row of `fit_curves`; a row of a published curve names no score."""
    if np.isfinite(row.get("floor", np.nan)):
        return ShareScale(row["dense"], row["floor"])
    score = row.get("score")
    return NatsScale() if isinstance(score, str) and score != PERPLEXITY else LogScale()


def law(row: Mapping, s: ArrayLike) -> np.ndarray:
    """Values of a row's form at sparsities s, on the scale of its score."""
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
    return row | {"warning": "; ".join(warnings(best, fits, points, ends))}


def best_fit(
    points: Points, forms: Sequence[str] = FORMS, draws: int = 300, seed: int = 0
) -> tuple[Fit | None, dict[str, Fit | None], float]:
    """The chosen fit of a curve, the best fit of each form, and `smooth_p`."""
    data = points.s, points.y, points.weights
    rivals = {
        name: candidates(name, points.dense, points.scale)
        for name in dict.fromkeys([*points.scale.forms, *forms])
    }
    fits = {name: least([fit(form, *data) for form in rivals[name]]) for name in rivals}
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
    limit, scale = points.dense, points.scale
    broken = [c for name in forms if name != "smooth" for c in candidates(name, limit, scale)]
    data = points.s, points.y, points.weights
    if "smooth" not in forms or not fits["smooth"] or min(c.count for c in broken) > len(points.s):
        return np.nan
    smooth = candidates("smooth", limit, scale)
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
    scale = points.scale
    facts = {**row, "floor": scale.floor, "dense": points.dense}
    at_s0 = scale.value(law(facts, row["s0"]))
    return row | {
        "value_at_s0": float(at_s0),
        "aicc": best.aicc,
        "rmse_log": float(np.sqrt(np.mean((points.y - best.fitted) ** 2))),
        "points": len(points.s),
    }
