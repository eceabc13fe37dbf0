"""Is a compressed model lossless? Two one-sided tests of its relative loss against a margin."""

import numpy as np
import pandas as pd

from meltpoint.analysis.paired import (
    SIGNIFICANCE,
    check_size,
    effect,
    equivalence_p,
    margin_shown,
    windows_needed,
)
from meltpoint.analysis.samples import Sample, check_comparable, units_of
from meltpoint.analysis.significance import holm
from meltpoint.errors import MeltpointError

WITHIN, BEYOND, NOT_SHOWN = "within", "beyond", "not shown"
COLUMNS = [
    *("model", "printed", "chain", "evaluation", "score", "dense", "value", "margin"),
    *("difference", "stderr", "stderr_windows", "stderr_draws", "low", "high", "windows", "draws"),
    *("p", "p_holm", "verdict", "margin_shown", "windows_needed"),
]


def against_dense(cells: pd.DataFrame, dense: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Each row against its model's dense one: the columns `COLUMNS`, differences as fractions of dense.

    cells: rows of one score with `sample` and `printed`. `low` and `high` end the 90 % interval, which
    lies within the margin where p is below 5 %. `p` is that of a difference of the margin or more, and
    `p_holm` is corrected for all rows together. `verdict`: within the margin, beyond it, or not shown.
    `margin_shown` is the margin that a truly lossless model would be shown to keep with these windows,
    with a power of 80 %; `windows_needed` how many windows show the measured difference to be within
    the margin, with the same power, NaN where no number does.
    """
    samples = dict(zip(dense["model"], dense["sample"], strict=True))
    rows = [compare_row(cell, samples, margin) for cell in cells.to_dict("records")]
    within = holm([row["p"] for row in rows])
    beyond = holm([row.pop("p_beyond") for row in rows])
    for row, p, p_beyond in zip(rows, within, beyond, strict=True):
        row |= {"p_holm": p, "verdict": verdict(p, p_beyond)}
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_row(cell: dict, dense: dict[str, Sample], margin: float) -> dict:
    """The numbers of one row against dense."""
    sample, base = cell["sample"], dense[cell["model"]]
    relative = relative_differences(sample, base)
    check_size(relative, f"{sample.name} and {base.name}", units_of([sample, base]))
    found = effect(relative)
    within, beyond = equivalence_p(found, margin)
    low, high = found.interval(1 - 2 * SIGNIFICANCE)
    needed = windows_needed(relative, margin)
    return {
        **{key: cell[key] for key in ("model", "printed", "chain", "evaluation", "score")},
        **{"dense": base.scores.mean(), "value": sample.scores.mean(), "margin": margin},
        **{"difference": float(found.value), "stderr": float(found.stderr)},
        **{"stderr_windows": float(found.windows), "stderr_draws": float(found.draws)},
        **{"low": float(low), "high": float(high)},
        **{"windows": relative.shape[1], "draws": len(relative)},
        **{"p": float(within), "p_beyond": float(beyond)},
        **{"margin_shown": margin_shown(found), "windows_needed": needed or np.nan},
    }


def relative_differences(sample: Sample, dense: Sample) -> np.ndarray:
    """``score / dense - 1`` unit by unit, [draws, units]: a ratio of means, by the delta method.

    Raises MeltpointError, naming both cells, where they cannot be compared or dense is 0.
    """
    check_comparable(sample, dense)
    value = dense.scores.mean()
    if not value:
        raise MeltpointError(
            f"{dense.name} is 0: a margin in per cent of it needs another score, such as the perplexity"
        )
    ratio = sample.scores.mean(axis=1, keepdims=True) / value
    return (sample.scores - ratio * dense.scores) / value + ratio - 1


def verdict(p_within: float, p_beyond: float) -> str:
    """Verdict on a difference, by its corrected p values."""
    if p_within < SIGNIFICANCE:
        return WITHIN
    return BEYOND if p_beyond < SIGNIFICANCE else NOT_SHOWN
