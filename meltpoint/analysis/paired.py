"""Tests of a mean difference that is paired window by window, over one or more calibration draws.

Differences have the shape [draws, units, ...]. Each entry of the axes after the first two is a pair of
checkpoints of its own, tested by itself. docs/protocol.md derives the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from meltpoint.analysis.significance import sign_flip_p
from meltpoint.errors import MeltpointError

MINIMUM = 5
# Differences with a larger excess kurtosis are tested by sign flips. A normal distribution has 0, a
# Laplace distribution 3.
HEAVY = 3.0
SIGNIFICANCE = 0.05
POWER = 0.8
# Number of sign patterns: at least the first, and for each comparison the second. The smallest
# possible p is then 1/200 after Holm's correction.
PATTERNS, PATTERNS_OF_A_PAIR = 9999, 400
T_TEST, SIGN_FLIP, TWO_WAY = "paired t", "sign flips", "two-way"


@dataclass(frozen=True)
class Effect:
    """A mean difference with its standard error and degrees of freedom; all fields have shape [...].

    `windows` and `draws` are the parts of the standard error that come from the units and from the
    draw of the calibration. `draws` is NaN for a single draw.
    """

    value: np.ndarray
    stderr: np.ndarray
    windows: np.ndarray
    draws: np.ndarray
    freedom: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the confidence interval of the difference, by Student's t."""
        reach = stats.t.ppf((1 + level) / 2, self.freedom) * self.stderr
        return self.value - reach, self.value + reach


def check_size(differences: np.ndarray, name: str, units: str = "windows") -> None:
    """Raises MeltpointError for fewer units (windows, say) than a paired test needs: `MINIMUM`."""
    if differences.shape[1] < MINIMUM:
        more = (
            "use a smaller window, or a longer text" if units == "windows" else "use more of them"
        )
        raise MeltpointError(
            f"{name}: {differences.shape[1]} {units} are too few for a paired test, which needs "
            f"{MINIMUM}: {more}"
        )


def effect(differences: np.ndarray) -> Effect:
    """The mean of differences [draws, units, ...] over draws and units, with its standard error.

    For one draw this is the standard error of a mean over units. For several, draws and units are two
    crossed random effects, ``d = mu + draw_j + unit_w + rest_jw``: the error has the variance
    ``(MS_draws + MS_units - MS_rest) / (J W)``, and its degrees of freedom are Satterthwaite's
    (Searle, Casella and McCulloch 1992, Variance Components, sections 4.3 and 4.6).
    """
    draws, units = differences.shape[:2]
    value = differences.mean(axis=(0, 1))
    by_unit = differences.mean(axis=0)
    if draws == 1:
        stderr = by_unit.std(axis=0, ddof=1) / np.sqrt(units)
        none = np.full_like(stderr, np.nan)
        return Effect(value, stderr, stderr, none, np.full_like(stderr, units - 1))
    by_draw = differences.mean(axis=1)
    rest = differences - by_unit - by_draw[:, None] + value
    of_rest = (rest**2).sum(axis=(0, 1)) / ((draws - 1) * (units - 1))
    # A mean square below that of the rest would give a negative variance component; it is set to 0.
    of_draws = np.maximum(units * by_draw.var(axis=0, ddof=1), of_rest)
    of_units = np.maximum(draws * by_unit.var(axis=0, ddof=1), of_rest)
    total = of_draws + of_units - of_rest
    squares = (
        of_draws**2 / (draws - 1)
        + of_units**2 / (units - 1)
        + of_rest**2 / ((draws - 1) * (units - 1))
    )
    # Differences that are all equal have no error, so their degrees of freedom do not matter.
    freedom = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), units - 1)
    size = draws * units
    parts = np.sqrt(of_units / size), np.sqrt((of_draws - of_rest) / size)
    return Effect(value, np.sqrt(total / size), *parts, freedom)


def heavy_tailed(differences: np.ndarray) -> np.ndarray:
    """Mask [...] of the pairs to test by sign flips: one draw, and excess kurtosis above `HEAVY`."""
    if len(differences) > 1:
        return np.zeros(differences.shape[2:], bool)
    return stats.kurtosis(differences[0], axis=0, bias=False) > HEAVY


def test_of(differences: np.ndarray) -> str:
    """Name of the test that `p_values` uses for the differences [draws, units] of one pair."""
    if len(differences) > 1:
        return TWO_WAY
    return SIGN_FLIP if heavy_tailed(differences) else T_TEST


def p_values(differences: np.ndarray, comparisons: int = 1, seed: int = 0) -> np.ndarray:
    """Two-sided p values [...] of the hypothesis that the mean difference is 0.

    comparisons: number of p values that are corrected together. The number of sign patterns grows with
    it. seed: of the random sign patterns.
    """
    found = effect(differences)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.abs(found.value / found.stderr)
    # Equal checkpoints have a difference and an error of 0, and 0/0 would make p NaN.
    p = np.where(found.value == 0, 1.0, 2 * stats.t.sf(statistic, found.freedom))
    heavy = heavy_tailed(differences)
    if heavy.any():
        patterns = max(PATTERNS, PATTERNS_OF_A_PAIR * comparisons)
        p[heavy] = sign_flip_p(differences[0][:, heavy], seed, patterns)
    return p


# --- equivalence -----------------------------------------------------------------------------------


def equivalence_p(found: Effect, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Two p values: for a true difference of at least `margin`, and for one of at most `margin`.

    A small first value shows that the difference is within the margin, by two one-sided tests
    (Schuirmann 1987). A small second value shows that it is beyond the margin.
    """
    distance = np.abs(found.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = stats.t.sf((margin - distance) / found.stderr, found.freedom)
        return below, stats.t.sf((distance - margin) / found.stderr, found.freedom)


def equivalence_power(
    value: float, stderr: float, freedom: float, margin: float, level: float = SIGNIFICANCE
) -> float:
    """Power of the equivalence test: how often a true difference of `value` is shown to be within."""
    if not stderr:
        return float(abs(value) < margin)
    limit = stats.t.ppf(1 - level, freedom)
    ends = stats.t.cdf((np.array([margin - value, margin + value]) / stderr) - limit, freedom)
    return max(float(ends.sum() - 1), 0.0)


def margin_shown(found: Effect) -> float:
    """The smallest margin for which a true difference of 0 passes the test with power `POWER`."""
    quantiles = stats.t.ppf([1 - SIGNIFICANCE, (1 + POWER) / 2], found.freedom)
    return float(found.stderr * quantiles.sum())


def windows_needed(differences: np.ndarray, margin: float, most: int = 10**8) -> int | None:
    """Number of windows with which the test shows the measured difference to be within the margin.

    It is the least number with power `POWER`, if the difference is the measured one. None if `most`
    windows are too few, because the difference or the error over draws is too large.
    """
    found = effect(differences)
    if abs(found.value) >= margin:
        return None
    units = differences.shape[1]
    draws = np.nan_to_num(found.draws)

    def power(count: float) -> float:
        stderr = np.hypot(found.windows * np.sqrt(units / count), draws)
        freedom = min(count - 1, found.freedom) if draws else count - 1
        return equivalence_power(float(found.value), float(stderr), freedom, margin) - POWER

    if power(MINIMUM) >= 0:
        return MINIMUM
    if power(most) < 0:
        return None
    return int(np.ceil(optimize.brentq(power, MINIMUM, most, xtol=0.5)))


# --- documents that are answered right or wrong ----------------------------------------------------


@dataclass(frozen=True)
class Flips:
    """Numbers of documents whose answer became wrong (`lost`) or right (`gained`), and of all."""

    lost: int
    gained: int
    documents: int

    @property
    def share(self) -> float:
        """Share of the documents whose answer changed (Dutta et al. 2024, arXiv 2407.09141)."""
        return (self.lost + self.gained) / self.documents


def flips(first: Sequence[bool], second: Sequence[bool]) -> Flips:
    """Counts the documents on which two checkpoints differ; `lost` are right in the first alone.

    first, second: whether each document is answered right. Raises MeltpointError if the two are not of
    equal length.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise MeltpointError(
            f"answers to {a.size} and to {b.size} documents cannot be paired: both must be of the "
            "same documents"
        )
    return Flips(int((a & ~b).sum()), int((~a & b).sum()), len(a))


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """p value of equal accuracy by McNemar's exact test.

    first, second: whether each document is answered right. Only documents on which they differ count.
    Raises MeltpointError if the two are not of equal length.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    changed = flips(first, second)
    both = int((np.asarray(first, bool) & np.asarray(second, bool)).sum())
    neither = changed.documents - both - changed.lost - changed.gained
    table = [[both, changed.lost], [changed.gained, neither]]
    return float(mcnemar(table, exact=True).pvalue)
