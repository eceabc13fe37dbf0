"""The published changes of scores, each checked against the change that the printed scores give."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from meltpoint.analysis.operation_order import changes
from meltpoint.published.operation_order.read import OrderStudy

HALF = 0.005  # Half of the last of two printed decimals.
KEYS = ["table", "from_sequence", "to_sequence", "metric"]


def check_changes(study: OrderStudy) -> pd.DataFrame:
    """The published changes in their order, each with the change of the scores.

    `agrees` is true if scores that round to the printed ones can give the published percentage.
    `agreement` is "printed" (the printed scores themselves give it), "rounding" or "no". `note` names
    the base or score that a wrong percentage would fit.
    """
    published, printed = study.published, study.published["change_pct"]
    own = changes(study.scores, published[KEYS])
    same = (published["from_sequence"] == published["to_sequence"]).to_numpy()
    low, high = percentages(own["score_from"], own["score_to"], same)
    agrees = (low <= printed + HALF) & (printed - HALF <= high)
    percent = np.round(own["change_pct"], 6)
    exact = (percent - printed).abs() <= HALF + 1e-9
    checked = published[KEYS].assign(
        change_abs=np.round(own["change_abs"], 2),
        change_pct=percent,
        published_change_abs=published["change_abs"],
        published_change_pct=printed,
        agrees=agrees,
        agreement=np.select([exact, agrees], ["printed", "rounding"], "no"),
    )
    scores = study.sequences.set_index("sequence")
    notes = ["" if row.agrees else explain(row, scores[row.metric]) for row in checked.itertuples()]
    return checked.assign(note=notes)


def percentages(
    first: ArrayLike, second: ArrayLike, same: ArrayLike = False
) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest change in percent between scores that round to the printed ones.

    same: true for pairs of one score with itself, whose change is 0.
    """
    low = 100 * ((second - HALF) / (first + HALF) - 1)
    high = 100 * ((second + HALF) / (first - HALF) - 1)
    return np.where(same, 0, low), np.where(same, 0, high)


def explain(row: NamedTuple, scores: pd.Series) -> str:
    """Phrase on the wrong percentage of a row: the base, or the score, that it would fit.

    scores: those of the row's metric, by sequence.
    """
    known = scores.dropna()
    low, high = percentages(known, known[row.to_sequence])
    for base in known.index[(low <= row.published_change_pct) & (row.published_change_pct <= high)]:
        return f"is the change from {base}, not from {row.from_sequence}"
    fitting = known[row.from_sequence] * (1 + row.published_change_pct / 100)
    return f"would fit a score of {fitting:.2f} instead of {known[row.to_sequence]:.2f}"
