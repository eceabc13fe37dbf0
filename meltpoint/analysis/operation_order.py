"""What the order of operations changes, from scores by sequence of operations.

A frame of scores has a row for each sequence and metric, with the columns

    sequence   operations joined by ">" in the order in which they were done; "dense" for none
    metric     name of what was measured
    score      its value; NaN where the sequence is not applicable
    stderr     standard error of the score; NaN where it is not known
    status     "ok" or "not_applicable"
    reason     why a sequence is not applicable

`scores_of_cells` makes such a frame of a study's own cells.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations

import numpy as np
import pandas as pd

from meltpoint.analysis.sequences import sequence_of

COLUMNS = ["sequence", "metric", "score", "stderr", "status", "reason"]


def scores_of_cells(cells: pd.DataFrame, operations: Mapping[str, str]) -> pd.DataFrame:
    """Frame of scores of a study's cells of one model (a frame of `meltpoint.analysis.frame`).

    A metric is the name of an evaluation for its main score, and evaluation.score for the others.
    operations: the operation that each method stands for, such as {"awq": "Q", "lora": "F"}. Chains
    with any other method are left out.
    """
    named = cells["evaluation"] + "." + cells["score"]
    scores = cells[["value", "stderr", "status", "reason"]].rename(columns={"value": "score"})
    sequences = [sequence_of(chain, operations) for chain in cells["chain"]]
    metric = cells["evaluation"].where(cells["main"].astype(bool), named)
    scores = scores.assign(sequence=sequences, metric=metric)
    return scores.dropna(subset="sequence")[COLUMNS].reset_index(drop=True)


def changes(scores: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """`pairs` (from_sequence, to_sequence, metric) with the change of the score, one row for each.

    Added are score_from, score_to, change_abs, change_pct (in percent of `score_from`) and
    change_pct_stderr, the errors of both scores taken as independent.
    """
    known = scores.set_index(["sequence", "metric"])[["score", "stderr"]]
    (first, first_error), (second, second_error) = (
        known.reindex(pd.MultiIndex.from_frame(pairs[[column, "metric"]])).to_numpy().T
        for column in ("from_sequence", "to_sequence")
    )
    # A score of zero has no change in percent.
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of a score that fell to zero too, which has no relative error.
        percent = 100 * (second - first) / first
        error = 100 * np.hypot(second * first_error / first, second_error) / np.abs(first)
    return pairs.assign(
        score_from=first,
        score_to=second,
        change_abs=second - first,
        change_pct=percent,
        change_pct_stderr=error,
    )


def order_effect(scores: pd.DataFrame, operations: Sequence[str]) -> pd.DataFrame:
    """Two orders of the same operations compared: a row for each pair of sequences and metric.

    operations: the single operations, in the order in which pairs name them. Pairs that differ by a
    swap of neighbours (`swapped`) come before the others; of these only the applicable ones are
    kept. `difference` is the second score less the first, `stderr` its standard error with
    independent errors. A pair with a sequence that is not applicable has its `reason`.
    """
    table = scores.set_index(["sequence", "metric"])
    metrics = list(dict.fromkeys(scores["metric"]))
    known = pairs(scores, operations)
    return pd.DataFrame([compare(table, *pair, m) for pair in known for m in metrics])


def pairs(scores: pd.DataFrame, operations: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of sequences of the same operations, those of two operations first."""
    applicable = scores.groupby("sequence")["status"].agg(lambda status: (status == "ok").all())
    chosen = []
    for count in range(2, len(operations) + 1):
        together = [
            pair
            for members in combinations(operations, count)
            for pair in combinations(map(">".join, permutations(members)), 2)
            if all(sequence in applicable for sequence in pair)
        ]
        near = [pair for pair in together if swapped(*pair)]
        near.sort(key=lambda pair: not applicable[list(pair)].all())
        far = [p for p in together if not swapped(*p) and applicable[list(p)].all()]
        chosen += near + far
    return chosen


def swapped(first: str, second: str) -> str:
    """The neighbouring operations whose swap makes one sequence of the other, or ""."""
    a, b = first.split(">"), second.split(">")
    differing = [i for i in range(len(a)) if a[i] != b[i]]
    if len(differing) == 2 and differing[1] == differing[0] + 1:
        return " and ".join(a[i] for i in differing)
    return ""


def compare(scores: pd.DataFrame, first: str, second: str, metric: str) -> dict:
    """One row of `order_effect`; `scores` has sequence and metric as its index."""
    a, b = scores.loc[(first, metric)], scores.loc[(second, metric)]
    failed = next((cell for cell in (a, b) if cell["status"] != "ok"), None)
    return {
        **{"first": first, "second": second, "steps": first.count(">") + 1},
        **{"swapped": swapped(first, second), "metric": metric},
        **{"score_first": a["score"], "score_second": b["score"]},
        "difference": b["score"] - a["score"],
        "stderr": float(np.hypot(a["stderr"], b["stderr"])),
        "status": "ok" if failed is None else "not_applicable",
        "reason": "" if failed is None else failed["reason"],
    }
