"""Tests of a mean difference, paired window by window, with or without draws of the calibration.

All functions take differences as [draws, units, ...]: the axes behind are tested apart, each as one
pair. How the numbers come about is in docs/protocol.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from meltpoint.analysis.significance import sign_flip_p
from meltpoint.errors import MeltpointError

MINIMUM = 5
# Differences with a larger excess kurtosis are tested by sign flips. That of a normal distribution
# is 0, that of a Laplace distribution 3.
HEAVY = 3.0
SIGNIFICANCE = 0.05
POWER = 0.8
# Patterns of signs: at least so many, and enough that Holm's correction leaves a p of 1 in 200.
PATTERNS, PATTERNS_OF_A_PAIR = 9999, 400
T_TEST, SIGN_FLIP, TWO_WAY = "paired t", "sign flips", "two-way"


@dataclass(frozen=True)
class Effect:
    """A mean difference, its standard error, the parts of that and its degrees of freedom.

    `draws` is the part that the draw of the calibration has, NaN where there is one draw.
    """

    value: np.ndarray
    stderr: np.ndarray
    windows: np.ndarray
    draws: np.ndarray
    freedom: np.ndarray

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the confidence interval of the difference."""
        reach = stats.t.ppf((1 + level) / 2, self.freedom) * self.stderr
        return self.value - reach, self.value + reach


def check_size(differences: np.ndarray, name: str, units: str = "windows") -> None:
    """Raises MeltpointError for fewer units, such as windows, than a paired test needs."""
    if differences.shape[1] < MINIMUM:
        more = (
            "use a smaller window, or a longer text" if units == "windows" else "use more of them"
        )
        raise MeltpointError(
            f"{name}: {differences.shape[1]} {units} are too few for a paired test, which needs "
            f"{MINIMUM}: {more}"
        )


def effect(differences: np.ndarray) -> Effect:
    """The mean over draws and units, and its error.

    Of one draw the error is that of a mean over units. Of several, draws and units are two crossed
    random effects, ``d = mu + draw_j + unit_w + rest_jw``: the error has the variance
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
    # A mean square below that of the rest says that its component is 0.
    of_draws = np.maximum(units * by_draw.var(axis=0, ddof=1), of_rest)
    of_units = np.maximum(draws * by_unit.var(axis=0, ddof=1), of_rest)
    total = of_draws + of_units - of_rest
    squares = (
        of_draws**2 / (draws - 1)
        + of_units**2 / (units - 1)
        + of_rest**2 / ((draws - 1) * (units - 1))
    )
    # Equal differences have no error, and any degrees of freedom will do.
    freedom = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), units - 1)
    size = draws * units
    parts = np.sqrt(of_units / size), np.sqrt((of_draws - of_rest) / size)
    return Effect(value, np.sqrt(total / size), *parts, freedom)


def heavy_tailed(differences: np.ndarray) -> np.ndarray:
    """True where sign flips are the test: for one draw whose excess kurtosis is above `HEAVY`."""
    if len(differences) > 1:
        return np.zeros(differences.shape[2:], bool)
    return stats.kurtosis(differences[0], axis=0, bias=False) > HEAVY


def test_of(differences: np.ndarray) -> str:
    """Name of the test that the differences of one pair are put to."""
    if len(differences) > 1:
        return TWO_WAY
    return SIGN_FLIP if heavy_tailed(differences) else T_TEST


def p_values(differences: np.ndarray, comparisons: int = 1, seed: int = 0) -> np.ndarray:
    """Two-sided p of no difference.

    comparisons: how many p values are corrected together, by which patterns of signs are counted.
    """
    found = effect(differences)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.abs(found.value / found.stderr)
    # Equal checkpoints differ nowhere, and have no error either.
    p = np.where(found.value == 0, 1.0, 2 * stats.t.sf(statistic, found.freedom))
    heavy = heavy_tailed(differences)
    if heavy.any():
        patterns = max(PATTERNS, PATTERNS_OF_A_PAIR * comparisons)
        p[heavy] = sign_flip_p(differences[0][:, heavy], seed, patterns)
    return p


# --- equivalence -----------------------------------------------------------------------------------


def equivalence_p(found: Effect, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """p of a difference of `margin` or more (two one-sided tests), and of one of `margin` or less.

    The first is small where the difference is shown to be within the margin (Schuirmann 1987), the
    second where it is shown to be beyond.
    """
    distance = np.abs(found.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = stats.t.sf((margin - distance) / found.stderr, found.freedom)
        return below, stats.t.sf((distance - margin) / found.stderr, found.freedom)


def equivalence_power(
    value: float, stderr: float, freedom: float, margin: float, level: float = SIGNIFICANCE
) -> float:
    """Probability that a true difference of `value` is shown to be within the margin."""
    if not stderr:
        return float(abs(value) < margin)
    limit = stats.t.ppf(1 - level, freedom)
    ends = stats.t.cdf((np.array([margin - value, margin + value]) / stderr) - limit, freedom)
    return max(float(ends.sum() - 1), 0.0)


def margin_shown(found: Effect) -> float:
    """The margin that a true difference of 0 is shown to be within, with a power of `POWER`."""
    quantiles = stats.t.ppf([1 - SIGNIFICANCE, (1 + POWER) / 2], found.freedom)
    return float(found.stderr * quantiles.sum())


def windows_needed(differences: np.ndarray, margin: float, most: int = 10**8) -> int | None:
    """Number of windows that show the measured difference to be within the margin, with `POWER`.

    None where no number does: the difference, or the error over draws, is too large.
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
    """Documents whose answer changed: from right to wrong, from wrong to right, and of how many."""

    lost: int
    gained: int
    documents: int

    @property
    def share(self) -> float:
        """Share of the documents whose answer changed (Dutta et al. 2024, arXiv 2407.09141)."""
        return (self.lost + self.gained) / self.documents


def flips(first: Sequence[bool], second: Sequence[bool]) -> Flips:
    """Documents that the first answers right and the second wrong, and the other way round.

    Raises MeltpointError where the two have not answered the same documents.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise MeltpointError(
            f"answers to {a.size} and to {b.size} documents cannot be paired: both must be of the "
            "same documents"
        )
    return Flips(int((a & ~b).sum()), int((~a & b).sum()), len(a))


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """p of equal accuracy by McNemar's exact test on the documents that one alone answers right."""
    from statsmodels.stats.contingency_tables import mcnemar

    changed = flips(first, second)
    both = int((np.asarray(first, bool) & np.asarray(second, bool)).sum())
    neither = changed.documents - both - changed.lost - changed.gained
    table = [[both, changed.lost], [changed.gained, neither]]
    return float(mcnemar(table, exact=True).pvalue)
