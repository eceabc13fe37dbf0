"""What values are of and measured in, as readers want it: perplexity, size (GB), tokens/s."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

# Metrics that their own name does not say well enough, and their unit where it stands apart.
WORDS = {
    "bits_per_weight": ("bits per weight", ""),
    "bytes": ("size", "bytes"),
    "nonzeros": ("nonzero weights", "weights"),
    "parameters": ("parameters", "weights"),
    "perplexity": ("perplexity", ""),
    "perplexity (llama.cpp)": ("perplexity (llama.cpp)", ""),
    "prompt_tokens_per_second": ("prompt tokens/s", ""),
    "generated_tokens_per_second": ("generated tokens/s", ""),
    "load_seconds": ("load time", "s"),
}
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


def perplexities(cells: pd.DataFrame) -> list[str]:
    """The evaluations that are perplexities, llama.cpp's own too; what has no metric is passed over."""
    measured = cells["metric"].fillna("").astype(str).str.startswith("perplexity")
    return list(cells.loc[measured, "evaluation"].unique())


def quantity(cells: pd.DataFrame) -> Quantity:
    """That of the cells of one evaluation, in the largest unit that its median reaches.

    A cell that is not applicable has no metric; where none has, the evaluation's name stands for it.
    """
    measured = cells[cells["metric"].notna() & (cells["metric"] != "")]
    if measured.empty:
        return Quantity(str(cells["evaluation"].iloc[0]) if len(cells) else "", "")
    metric, unit = measured["metric"].iloc[0], measured["unit"].iloc[0]
    words, unit = WORDS.get(metric, (metric.replace("_", " "), unit or ""))
    return _scaled(words, unit, measured["value"])


def _scaled(words: str, unit: str, values: pd.Series) -> Quantity:
    prefixes = PREFIXES.get(unit)
    middle = values[np.isfinite(values) & (values > 0)].median()
    if prefixes is None or not np.isfinite(middle):
        return Quantity(words, unit)
    power = min(int(np.log10(middle) // 3), len(prefixes) - 1) if middle >= 1 else 0
    return Quantity(words, prefixes[power], 1000.0**power)
