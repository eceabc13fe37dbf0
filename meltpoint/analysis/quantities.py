"""Names and units of values, as tables and axes print them: perplexity, size (GB), tokens/s."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import scores_named
from meltpoint.evaluations.contract import PERPLEXITY

# Powers of a thousand of what is counted by the million.
PREFIXES = {
    "bytes": ("bytes", "kB", "MB", "GB", "TB"),
    "weights": ("", "thousands", "millions", "billions"),
}


@dataclass(frozen=True)
class Quantity:
    """What a column or an axis holds: its values are divided by `factor` to be in `unit`."""

    words: str
    unit: str
    factor: float = 1.0

    def __str__(self) -> str:
        return f"{self.words} ({self.unit})" if self.unit else self.words


def perplexities(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Names of the scores that are perplexities, llama.cpp's included."""
    return [name for name in names if (scores_named(frame, name)["score"] == PERPLEXITY).any()]


def quantity(cells: pd.DataFrame) -> Quantity:
    """The quantity of the rows of one score, in the largest unit that their median reaches."""
    if cells.empty:
        return Quantity("", "")
    first = cells.iloc[0]
    return _scaled(first["label"], first["label_unit"], cells["value"])


def _scaled(words: str, unit: str, values: pd.Series) -> Quantity:
    prefixes = PREFIXES.get(unit)
    middle = values[np.isfinite(values) & (values > 0)].median()
    if prefixes is None or not np.isfinite(middle):
        return Quantity(words, unit)
    power = min(int(np.log10(middle) // 3), len(prefixes) - 1) if middle >= 1 else 0
    return Quantity(words, prefixes[power], 1000.0**power)
