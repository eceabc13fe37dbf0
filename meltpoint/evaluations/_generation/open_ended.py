"""Statistics of texts: repetition, diversity and coherence.

rep-n is one less the distinct n-grams of words over all of them, pooled over texts, and diversity is
the product of 1 - rep-n for n of 2, 3 and 4 (Su et al., arXiv 2202.06417). As in their library, the
last n-gram of each text is left out, so that numbers compare with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.windows import error_of_mean
from meltpoint.lazy_import import numpy as np

ORDERS = (2, 3, 4)


def counts(text: str, n: int) -> tuple[int, int]:
    """The distinct n-grams of a text's words, and all of them."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n)]
    return len(set(grams)), len(grams)


def repetition(texts: Sequence[Sequence[str]], n: int) -> Estimate:
    """rep-n of texts, 0 to 1; the texts of one prompt are one unit."""
    pooled = _pooled(texts, n)
    if pooled is None:
        return _too_short(n)
    share, units = pooled
    return _estimate(1 - share, 1 - units)


def diversity(texts: Sequence[Sequence[str]]) -> Estimate:
    """Product of 1 - rep-n for n of 2, 3, 4; its error follows from the shares' to first order."""
    pooled = [_pooled(texts, n) for n in ORDERS]
    if None in pooled:
        return _too_short(ORDERS[pooled.index(None)])
    value = float(np.prod([share for share, _ in pooled]))
    relative = sum((units - share) / share for share, units in pooled)
    return _estimate(value, value * (1 + relative))


def _pooled(texts: Sequence[Sequence[str]], n: int) -> tuple[float, np.ndarray] | None:
    """Distinct n-grams over all of them, and units whose mean has the error of that ratio.

    A ratio R of two sums has the error of the mean of R + (u - R v) / mean(v).
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
