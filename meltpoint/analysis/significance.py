"""Which differences are larger than their noise: tests and intervals for any tidy frame.

Functions that compare the levels of factors take a frame with a row for each run, `factors` (the
frame's column of each factor, by the name that results give it) and `target` (the column that is
explained). Runs of different models are compared within each model, the frame's column `model`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from meltpoint.lazy_import import LazyModule

formulas = LazyModule("statsmodels.formula.api")
anova = LazyModule("statsmodels.stats.anova")

SIGNIFICANCE = 0.05
Z = 1.96
EXACT = 16  # With more differences than this, signs are drawn at random: 2^16 patterns.
LARGER, SMALL = "larger than its noise", "consistent, within the test sets' noise"
VARIES, NONE = "varies over the grid", "none"
VERDICTS = {(True, True): LARGER, (True, False): SMALL, (False, True): VARIES, (False, False): NONE}

COMPARED = [
    *("model", "factor", "first", "second", "cells", "difference", "low", "high", "floor"),
    *("p", "p_holm", "verdict"),
]


def mean_stderr(rates: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Binomial standard error of the plain mean of independent test sets.

    rates: fractions of right answers [..., test sets]; sizes: the test sets' numbers of questions.
    """
    variances = rates * (1 - rates) / np.asarray(sizes)
    return np.sqrt(variances.sum(axis=-1)) / len(sizes)


def percent_stderr(score: float, sizes: Sequence[int]) -> float:
    """Binomial standard error of a mean score in percent, as if all test sets had one rate."""
    rate, inverse = score / 100, 1 / np.asarray(sizes)
    return float(100 * np.sqrt(rate * (1 - rate) * inverse.sum()) / len(sizes))


def sign_flip_p(
    differences: np.ndarray, seed: int = 0, patterns: int = 2**EXACT - 1
) -> float | np.ndarray:
    """P value of a mean at least as far from zero if each difference had either sign by chance.

    differences: [n], or [n, ...] for the p values of several samples. Exact for up to `EXACT`
    differences; for more, that number of `patterns` of signs is drawn.
    """
    many = np.inf if len(differences) <= EXACT else patterns
    test = stats.permutation_test(
        (differences,),
        lambda sample, axis: sample.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=many,
        batch=max(1, 2**12 // max(differences[0].size, 1)),
        rng=np.random.default_rng(seed),
    )
    return test.pvalue if differences.ndim > 1 else float(test.pvalue)


def holm(p: Sequence[float]) -> np.ndarray:
    """P values corrected for their number (Holm 1979).

    The result is that of statsmodels' `multipletests`, which runs the garbage collector at each call.
    In a large process that takes a tenth of a second for each column of a table.
    """
    p = np.asarray(p, dtype=float)
    order, factors = np.argsort(p), np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * factors).clip(max=1)
    return corrected


def compare_levels(
    frame: pd.DataFrame,
    factors: Mapping[str, str],
    target: str,
    draws: int = 4999,
    seed: int = 0,
) -> pd.DataFrame:
    """Each pair of levels of each factor, over the cells of the grid that agree in all else.

    The frame's column `stderr` is the standard error of the target. Pairs that share fewer than two
    cells are left out. Columns: model, factor, first, second, cells; difference (the mean target of
    `second` less that of `first`) with low and high (95 %, BCa bootstrap over the cells); floor (the
    smallest difference that the runs' own errors leave standing: 1.96 standard errors of a difference
    of two runs); p (sign flips of the cells' differences); p_holm (corrected for the pairs of a factor
    in a model); verdict (p_holm below 0.05, and the difference above the floor).
    """
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        for factor, column in factors.items():
            pairs = [
                {"model": model, "factor": factor, "first": str(a), "second": str(b)}
                | compare_pair(*cells, draws, seed)
                for a, b in combinations(runs[column].unique(), 2)
                if len((cells := matched(runs, factors, target, column, a, b))[0]) > 1
            ]
            corrected = holm([pair["p"] for pair in pairs])
            rows += [pair | {"p_holm": p} for pair, p in zip(pairs, corrected, strict=True)]
    if not rows:
        return pd.DataFrame(columns=COMPARED)
    found = pd.DataFrame(rows)
    tests = (found["p_holm"] < SIGNIFICANCE, found["difference"].abs() > found["floor"])
    return found.assign(verdict=[VERDICTS[bool(a), bool(b)] for a, b in zip(*tests, strict=True)])


def matched(
    runs: pd.DataFrame,
    factors: Mapping[str, str],
    target: str,
    column: str,
    first: object,
    second: object,
) -> tuple[np.ndarray, np.ndarray]:
    """Differences of the target and their standard errors, over cells that agree in all else."""
    others = [other for other in factors.values() if other != column]
    table = runs.pivot_table(index=others, columns=column, values=[target, "stderr"]).dropna()
    value, error = table[target], table["stderr"]
    difference = value[second] - value[first]
    return difference.to_numpy(), np.hypot(error[first], error[second]).to_numpy()


def compare_pair(differences: np.ndarray, errors: np.ndarray, draws: int, seed: int) -> dict:
    """The numbers of one pair of levels, as `compare_levels` describes them."""
    ends = stats.bootstrap(
        (differences,), np.mean, n_resamples=draws, rng=np.random.default_rng(seed)
    ).confidence_interval
    return {
        "cells": len(differences),
        "difference": float(differences.mean()),
        **{"low": float(ends.low), "high": float(ends.high)},
        "floor": float(Z * np.sqrt((errors**2).mean())),
        "p": sign_flip_p(differences, seed),
    }


def partial_dependence(
    frame: pd.DataFrame,
    factors: Mapping[str, str],
    target: str,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean target at each level of each factor, the others averaged: an additive model's.

    On a full grid these are the marginal means. low, high: 95 % by resampling the model's residuals,
    interactions among them, so an interval says how far a level's mean depends on the other settings.
    """
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        y = runs[target].to_numpy()
        design = design_of(runs, list(factors.values()))
        solve = np.linalg.pinv(design)
        fitted = design @ solve @ y
        scale = np.sqrt(len(y) / (len(y) - np.linalg.matrix_rank(design)))
        chosen = np.random.default_rng(seed).integers(len(y), size=(draws, len(y)))
        drawn = fitted + scale * (y - fitted)[chosen]
        for factor, level, probe in probes(runs, factors, design):
            means = drawn @ (probe @ solve)
            low, high = np.percentile(means, [2.5, 97.5])
            row = {"model": model, "factor": factor, "level": str(level)}
            rows.append(row | {"mean": probe @ solve @ y, "low": low, "high": high})
    return pd.DataFrame(rows)


def design_of(runs: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """A column of ones, and an indicator for each level of each column [runs, 1 + levels]."""
    blocks = [np.ones((len(runs), 1))]
    for column in columns:
        codes = pd.factorize(runs[column])[0]
        blocks.append((codes[:, None] == np.arange(codes.max() + 1)).astype(float))
    return np.hstack(blocks)


def probes(
    runs: pd.DataFrame, factors: Mapping[str, str], design: np.ndarray
) -> Iterator[tuple[str, object, np.ndarray]]:
    """Each factor, level, and the mean row of the design if every run had that level."""
    start = 1
    for factor, column in factors.items():
        levels = runs[column].unique()
        for place, level in enumerate(levels):
            probe = design.mean(axis=0)
            probe[start : start + len(levels)] = np.arange(len(levels)) == place
            yield factor, level, probe
        start += len(levels)


def explained(frame: pd.DataFrame, factors: Mapping[str, str], target: str) -> pd.DataFrame:
    """Shares of each model's variance of the target: factors, their pairs, and the remainder.

    Sums of squares are sequential (type I), in the order of the factors. Factors that were not varied
    are left out.
    """
    factors = {name: c for name, c in factors.items() if len(frame[c].unique()) > 1}
    names = list(factors)
    terms = [(name,) for name in names] + list(combinations(names, 2))
    formula = "target ~ " + " + ".join(":".join(f"C({name})" for name in term) for term in terms)
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        data = runs[list(factors.values())].set_axis(names, axis=1).assign(target=runs[target])
        table = anova.anova_lm(
            formulas.ols(formula, data.astype(dict.fromkeys(names, str))).fit(), typ=1
        )
        shares = table["sum_sq"] / ((data["target"] - data["target"].mean()) ** 2).sum()
        labels = [*(" x ".join(term) for term in terms), "remainder"]
        rows += [
            {"model": model, "term": label, "share": float(share)}
            for label, share in zip(labels, shares, strict=True)
        ]
    return pd.DataFrame(rows)
