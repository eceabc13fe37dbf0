"""Tasks whose answers are right or wrong, against the dense model: McNemar's test and flips."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.paired import flips, mcnemar_p
from meltpoint.analysis.samples import Sample, check_comparable
from meltpoint.analysis.significance import holm
from meltpoint.analysis.task_names import is_task
from meltpoint.errors import MeltpointError

# Tolerance for units of 0 or 1. They are computed by subtracting and adding a mean, which rounds.
ROUNDING = 1e-9
COLUMNS = [
    *("model", "task", "printed", "chain", "evaluation", "score", "value", "stderr"),
    *("difference", "difference_stderr", "documents", "lost", "gained", "flips", "p", "p_holm"),
    *("status", "reason", "not_tested"),
]


def task_scores(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of all tasks of an evaluation, or of the one score that is named; task by task."""
    rows = frame[(frame["evaluation"] == name) & frame["score"].map(is_task)]
    rows = rows if len(rows) else scores_named(frame, name)
    order = list(dict.fromkeys(rows["score"]))
    return rows.sort_values("score", key=lambda s: s.map(order.index), kind="stable")


def against_dense(cells: pd.DataFrame) -> pd.DataFrame:
    """Each row against its model's dense one: the columns `COLUMNS`.

    cells: rows with `sample` and `printed`, dense ones among them. `lost` and `gained` are documents
    whose answer went from right to wrong and from wrong to right, `flips` is their share. `p` is
    McNemar's exact p, and `p_holm` is corrected for all rows together. They are NaN for a score whose
    units are not right or wrong, and where two protocols differ: `not_tested` says so then.
    """
    dense = {
        (cell["model"], cell["score"]): cell["sample"]
        for cell in cells[cells["chain"] == "dense"].to_dict("records")
    }
    rows = [compare_row(cell, dense) for cell in cells.to_dict("records")]
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_row(cell: dict, dense: Mapping[tuple[str, str], object]) -> dict:
    """The numbers of one row; without a test for dense itself, and where there is nothing to test."""
    row = {key: cell[key] for key in COLUMNS if key in cell} | {"task": cell["label"]}
    sample, base = cell["sample"], dense.get((cell["model"], cell["score"]))
    if cell["chain"] == "dense" or not (isinstance(sample, Sample) and isinstance(base, Sample)):
        return row
    try:
        check_comparable(sample, base)
    except MeltpointError as error:
        return row | {"not_tested": str(error)}
    right, right_before = answers(sample), answers(base)
    if right is None or right_before is None:
        return row
    changed = flips(right_before, right)
    return row | {
        **{"documents": changed.documents, "lost": changed.lost, "gained": changed.gained},
        **{"flips": changed.share, "p": mcnemar_p(right_before, right)},
    }


def answers(sample: Sample) -> np.ndarray | None:
    """True for each document that is answered right; None where answers are not right or wrong."""
    units = sample.scores[0]
    right = units > 0.5
    return right if np.allclose(units, right, rtol=0, atol=ROUNDING) else None
