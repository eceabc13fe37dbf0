"""Which differences of the parameter search are larger than their noise.

Every setting was run once, so there is no noise from repetition to compare with. Two kinds of noise
are known all the same: that of the test questions (binomial), and how much a difference varies over
the other settings of the grid (paired, for cells that differ in one factor alone).
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from meltpoint.analysis.parameter_search import ACCURACIES, FACTORS, TASKS, best_run

SIGNIFICANCE = 0.05
Z = 1.96
EXACT = 16  # Above so many pairs signs are drawn: 2^16 patterns.
LARGER, SMALL = "larger than its noise", "consistent, within the test sets' noise"
VARIES, NONE = "varies over the grid", "none"
VERDICTS = {(True, True): LARGER, (True, False): SMALL, (False, True): VARIES, (False, False): NONE}


def accuracy_stderr(frame: pd.DataFrame) -> pd.Series:
    """Binomial standard error of the mean accuracy: the seven test sets are independent."""
    rates, sizes = frame[ACCURACIES].to_numpy(), np.array(list(TASKS.values()))
    variances = rates * (1 - rates) / sizes
    return pd.Series(np.sqrt(variances.sum(axis=1)) / len(TASKS), index=frame.index)


def compare_levels(frame: pd.DataFrame, draws: int = 4999, seed: int = 0) -> pd.DataFrame:
    """Each pair of levels of each factor over the cells that agree in all else, if two or more.

    difference: mean accuracy of `second` less that of `first`; low, high: 95 % bootstrap (BCa) over
    the cells; p: sign flips of the cells' differences, exact; p_holm: corrected for the pairs of a
    factor in a model; floor: the smallest difference that the test questions' noise leaves standing
    (1.96 standard errors of a difference of two runs, as if they had answered other questions).
    """
    frame = frame.assign(stderr=accuracy_stderr(frame))
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        for factor, column in FACTORS.items():
            pairs = [
                {"model": model, "factor": factor, "first": str(a), "second": str(b)}
                | compare_pair(*cells, draws, seed)
                for a, b in combinations(runs[column].unique(), 2)
                if len((cells := matched(runs, column, a, b))[0]) > 1
            ]
            corrected = holm([pair["p"] for pair in pairs])
            rows += [pair | {"p_holm": p} for pair, p in zip(pairs, corrected, strict=True)]
    found = pd.DataFrame(rows)
    tests = (found["p_holm"] < SIGNIFICANCE, found["difference"].abs() > found["floor"])
    return found.assign(verdict=[VERDICTS[bool(a), bool(b)] for a, b in zip(*tests, strict=True)])


def matched(runs: pd.DataFrame, column: str, first, second) -> tuple[np.ndarray, np.ndarray]:
    """Differences of accuracy and their standard errors, over cells that agree in all else."""
    others = [other for other in FACTORS.values() if other != column]
    table = runs.pivot_table(index=others, columns=column, values=["acc_mean", "stderr"]).dropna()
    accuracy, error = table["acc_mean"], table["stderr"]
    difference = accuracy[second] - accuracy[first]
    return difference.to_numpy(), np.hypot(error[first], error[second]).to_numpy()


def compare_pair(differences: np.ndarray, errors: np.ndarray, draws: int, seed: int) -> dict:
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


def sign_flip_p(differences: np.ndarray, seed: int = 0) -> float:
    """P of a mean at least as far from zero if each difference's sign were a coin's toss."""
    n = len(differences)
    if n <= EXACT:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], size=(2**EXACT, n))
        signs[0] = 1
    sums = np.abs(signs @ differences)
    return float((sums >= abs(differences.sum()) * (1 - 1e-9)).mean())


def holm(p: list[float]) -> np.ndarray:
    """P values corrected for their number (Holm 1979)."""
    p = np.asarray(p)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected


def noise_floor(frame: pd.DataFrame) -> pd.DataFrame:
    """Per model what is known of the noise of one run.

    stderr: of the best run's mean accuracy, from its test questions; close: how many other runs lie
    within 1.96 standard errors of a difference from it; repeats: standard deviation over the numbers
    of samples, method and length being the same, the nearest thing to a repetition that there is.
    """
    frame = frame.assign(stderr=accuracy_stderr(frame))
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        best = best_run(runs)
        close = best["acc_mean"] - runs["acc_mean"] <= Z * np.hypot(runs["stderr"], best["stderr"])
        alike = runs.groupby([FACTORS["method"], FACTORS["seq_len"]])["acc_mean"]
        row = {"model": model, "best": best["acc_mean"], "stderr": best["stderr"]}
        row |= {"close": int(close.sum()) - 1, "repeats": np.sqrt(alike.var(ddof=1).mean())}
        rows.append(row)
    return pd.DataFrame(rows)


def partial_dependence(frame: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The mean accuracy at each level of each factor, the others averaged: an additive model's.

    On a full grid these are the marginal means. low, high: 95 % by resampling the model's residuals,
    interactions among them, so an interval says how far a level's mean depends on the other settings.
    """
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        y = runs["acc_mean"].to_numpy()
        design = design_of(runs, [(column,) for column in FACTORS.values()])
        solve = np.linalg.pinv(design)
        fitted = design @ solve @ y
        scale = np.sqrt(len(y) / (len(y) - np.linalg.matrix_rank(design)))
        chosen = np.random.default_rng(seed).integers(len(y), size=(draws, len(y)))
        drawn = fitted + scale * (y - fitted)[chosen]
        for factor, level, probe in probes(runs, design):
            means = drawn @ (probe @ solve)
            low, high = np.percentile(means, [2.5, 97.5])
            row = {"model": model, "factor": factor, "level": str(level)}
            rows.append(row | {"mean": probe @ solve @ y, "low": low, "high": high})
    return pd.DataFrame(rows)


def design_of(runs: pd.DataFrame, terms: list[tuple[str, ...]]) -> np.ndarray:
    """A column of ones and an indicator of each level of each term; a term is one column or more."""
    blocks = [np.ones((len(runs), 1))]
    for term in terms:
        codes = runs.groupby(list(term), sort=False).ngroup()
        blocks.append((codes.to_numpy()[:, None] == np.arange(codes.max() + 1)).astype(float))
    return np.hstack(blocks)


def probes(runs: pd.DataFrame, design: np.ndarray):
    """Each factor, level and the mean row of the design if every run had that level."""
    start = 1
    for factor, column in FACTORS.items():
        levels = runs[column].unique()
        for place, level in enumerate(levels):
            probe = design.mean(axis=0)
            probe[start : start + len(levels)] = np.arange(len(levels)) == place
            yield factor, level, probe
        start += len(levels)


def explained(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares of each model's variance of accuracy: factors, their pairs, and what is left."""
    names = list(FACTORS)
    terms = [(name,) for name in names] + list(combinations(names, 2))
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        before = 0.0
        for place, term in enumerate(terms):
            columns = [tuple(FACTORS[name] for name in t) for t in terms[: place + 1]]
            after = r_squared(design_of(runs, columns), runs["acc_mean"].to_numpy())
            rows.append({"model": model, "term": " x ".join(term), "share": after - before})
            before = after
        rows.append({"model": model, "term": "remainder", "share": 1 - before})
    return pd.DataFrame(rows)


def r_squared(design: np.ndarray, y: np.ndarray) -> float:
    residual = y - design @ (np.linalg.pinv(design) @ y)
    return float(1 - residual @ residual / ((y - y.mean()) ** 2).sum())
