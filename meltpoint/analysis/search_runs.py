"""The runs of a parameter search as a frame of `meltpoint.analysis.parameter_search`, from cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.parameter_search import Search

# Columns of the published CSV file by the score of the evaluation `pruning`.
SCORES = {
    "pruning_ratio": "pruning_ratio",
    "grad_mean_ratio": "grad_mean_ratio",
    "grad_norm_ratio": "grad_norm_ratio",
    "grad_mean_range": "grad_mean_range",
    "grad_norm_range": "grad_norm_range",
    "extreme_layers": "extreme_pruning_layers",
    "parameters": "params_count",
}


COUNTS = ("extreme_pruning_layers", "params_count")


@dataclass(frozen=True)
class Names:
    """Evaluations and scores of a search, as the study names them; no `accuracy` without tasks."""

    perplexity: str
    layers: str
    accuracy: str | None = None


def tasks_of(frame: pd.DataFrame, names: Names) -> list[str]:
    """Tasks whose mean is the accuracy, in the order of the evaluation."""
    if names.accuracy is None:
        return []
    scores = frame.loc[frame["evaluation"] == names.accuracy, "score"].unique()
    return [score for score in scores if "." not in score and score != "mean"]


def search_of(frame: pd.DataFrame, names: Names) -> Search:
    """The search: by mean accuracy where tasks were measured, else by perplexity.

    Numbers of questions are not known here; they are 0.
    """
    tasks = dict.fromkeys(tasks_of(frame, names), 0)
    if tasks:
        return Search(tasks=tasks)
    return Search(tasks={}, target="ppl", higher_is_better=False)


def runs_of(
    frame: pd.DataFrame, varied: Mapping[str, Mapping[str, str | int]], names: Names
) -> pd.DataFrame:
    """A row for each model and chain, with the columns of the published CSV file.

    Rows are in the order of the factors' levels, numbers by their size: tables and figures keep it.
    varied: what each chain varies, by the published column. Added are `params_count`, `chain`, and
    `stderr`: that of the target's paired difference to dense where it was measured, because runs share
    their text. What was not measured is NaN.
    """
    search = search_of(frame, names)
    scores = {"ppl": scores_named(frame, names.perplexity)}
    if names.accuracy is not None:
        scores["acc_mean"] = scores_named(frame, f"{names.accuracy}.mean")
        for task in search.tasks:
            scores[f"acc_{task}"] = scores_named(frame, f"{names.accuracy}.{task}")
    for score, column in SCORES.items():
        scores[column] = scores_named(frame, f"{names.layers}.{score}")
    places = {column: rows.set_index(["model", "chain"]) for column, rows in scores.items()}
    rows = []
    for model in frame["model"].unique():
        for chain, levels in sorted(varied.items(), key=lambda run: tuple(run[1].values())):
            if (model, chain) not in places["ppl"].index:
                continue
            row = {"model": model, **levels, "ppl": np.nan, "acc_mean": np.nan}
            row |= {column: _value(place, (model, chain)) for column, place in places.items()}
            target, place = places[search.target], (model, chain)
            paired = _value(target, place, "difference_stderr")
            stderr = _value(target, place, "stderr") if np.isnan(paired) else paired
            rows.append(row | {"stderr": stderr, "chain": chain})
    runs = pd.DataFrame(rows)
    whole = [column for column in COUNTS if runs[column].notna().all()]
    return runs.astype(dict.fromkeys(whole, int))


def _value(rows: pd.DataFrame, place: tuple[str, str], column: str = "value") -> float:
    return float(rows[column].get(place, np.nan))
