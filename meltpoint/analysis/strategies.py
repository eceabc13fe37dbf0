"""Scores of decoding strategies: from a tidy frame, and from a published table beside it."""

from __future__ import annotations

import pandas as pd

from meltpoint import evaluations
from meltpoint.analysis.frame import scores_named
from meltpoint.analysis.strategy_checks import KIND
from meltpoint.data.published.frames import read

# The published score, in percent.
PASSED = "pass_at_1"


def scores_of_strategies(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a score of all strategies of an evaluation, with `strategy` and `stochastic`.

    name: the score as the study names it, of any strategy: `mbpp.greedy.rep_4` means rep-4, and `mbpp`
    the evaluation's main score. `score` is the name without the strategy. Cells that do not apply have
    rows too.
    """
    # Looked up, not imported: its code then counts only for what shows such scores.
    generation = evaluations.find(KIND).module
    named = scores_named(frame, name).iloc[0]
    rows = frame[frame["evaluation"] == named["evaluation"]]
    parts = pd.DataFrame(
        map(generation.split_score, rows["score"]), rows.index, ["strategy", "score"]
    )
    rows = rows.assign(**parts, label=rows["label"].str.partition(" (")[0])
    rows = rows[rows["score"] == generation.split_score(named["score"])[1]]
    return rows.assign(stochastic=list(map(generation.is_stochastic, rows["strategy"])))


def published_strategies(name: str) -> pd.DataFrame:
    """A published table of strategies: model, strategy as printed, here (its name here) and value.

    Values are fractions.
    """
    table = read(name)
    return table.assign(value=table[PASSED] / 100)


def published_value(published: pd.DataFrame, model: str | None, strategy: str) -> float | None:
    """The published value of a model for a strategy as a study spells it; None without one."""
    is_like = evaluations.find(KIND).module.is_like
    rows = published[published["model"] == model]
    values = [row.value for row in rows.itertuples() if is_like(strategy, row.here)]
    return values[0] if values else None
