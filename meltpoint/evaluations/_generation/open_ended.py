"""Statistics of texts: repetition and diversity.

rep-n is 1 - distinct n-grams / n-grams of words, both summed over texts. Diversity is the product of
1 - rep-n for n of 2, 3 and 4 (Su et al., arXiv 2202.06417). As in their library, the last n-gram of
each text is left out, so that numbers can be compared with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.windows import error_of_mean
from meltpoint.lazy_import import numpy as np

ORDERS = (2, 3, 4)


def counts(text: str, n: int) -> tuple[int, int]:
    """Numbers of distinct n-grams and of all n-grams of a text's words, without the last n-gram."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n)]
    return len(set(grams)), len(grams)


def repetition(texts: Sequence[Sequence[str]], n: int) -> Estimate:
    """rep-n of texts, 0 to 1; refused if no text has n + 1 words.

    texts: for each prompt its texts, which together are one unit.
    """
    pooled = _pooled(texts, n)
    if pooled is None:
        return _too_short(n)
    share, units = pooled
    return _estimate(1 - share, 1 - units)


def diversity(texts: Sequence[Sequence[str]]) -> Estimate:
    """Diversity, the product of 1 - rep-n for n of 2, 3 and 4; refused if all texts are too short.

    texts: for each prompt its texts, which together are one unit. The error is of first order in the
    errors of the factors.
    """
    pooled = [_pooled(texts, n) for n in ORDERS]
    if None in pooled:
        return _too_short(ORDERS[pooled.index(None)])
    value = float(np.prod([share for share, _ in pooled]))
    relative = sum((units - share) / share for share, units in pooled)
    return _estimate(value, value * (1 + relative))


def _pooled(texts: Sequence[Sequence[str]], n: int) -> tuple[float, np.ndarray] | None:
    """The ratio of distinct n-grams to all n-grams, and its units, [prompts]; None without n-grams.

    A ratio R of the sums of u and v has the standard error of the mean of R + (u - R v) / mean(v).
    """
    pairs = [np.sum([counts(text, n) for text in each], axis=0) for each in texts]
    distinct, total = np.asarray(pairs, np.float64).T
    if not total.sum():
        return None
    share = float(distinct.sum() / total.sum())
    return share, share + (distinct - share * total) / total.mean()


def _estimate(value: float, units: np.ndarray) -> Estimate:
    return Estimate(value, error_of_mean(units) if len(units) > 1 else None, units)


def _too_short(n: int) -> Estimate:
    return Estimate(refused=f"no text has the {n + 1} words that rep-{n} needs")
