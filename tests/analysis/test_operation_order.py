"""The effect of order, on scores that a study has measured."""

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis.frame import tidy
from meltpoint.analysis.operation_order import (
    changes,
    order_effect,
    scores_of_cells,
    swapped,
)
from meltpoint.analysis.sequences import sequence_of

OPERATIONS = {"shortgpt": "P", "awq": "Q", "lora": "F"}
CELLS = {
    "dense": 10.0,
    "shortgpt@0.2": 12.0,
    "shortgpt@0.2+awq@4bit": 13.0,
    "awq@4bit+shortgpt@0.2": 15.0,
    "shortgpt@0.2+awq@4bit+lora": 11.0,
    "shortgpt@0.2+lora+awq@4bit": np.nan,
    "wanda@0.5": 14.0,
}


@pytest.fixture
def scores():
    frame = tidy("", "", list(CELLS.values()), evaluation="docs", stderr=0.3)
    frame["chain"] = list(CELLS)
    failed = frame["value"].isna()
    frame.loc[failed, ["status", "reason"]] = ["not_applicable", "no kernel"]
    return scores_of_cells(frame, OPERATIONS)


def test_chains_become_sequences_of_operations(scores):
    expected = ["dense", "P", "P>Q", "Q>P", "P>Q>F", "P>F>Q"]
    assert list(scores["sequence"]) == expected
    assert sequence_of("wanda@0.5+lora", OPERATIONS) is None


def test_changes_have_both_errors(scores):
    pairs = pd.DataFrame({"from_sequence": ["dense"], "to_sequence": ["P"], "metric": ["docs"]})
    change = changes(scores, pairs).iloc[0]
    assert (change["change_abs"], change["change_pct"]) == (2, pytest.approx(20))
    assert change["change_pct_stderr"] == pytest.approx(100 * 1.2 * 0.3 * np.hypot(1 / 10, 1 / 12))


def test_a_change_to_zero_has_an_error(scores):
    scores.loc[scores["sequence"] == "P", "score"] = 0.0
    pairs = pd.DataFrame({"from_sequence": ["dense"], "to_sequence": ["P"], "metric": ["docs"]})
    change = changes(scores, pairs).iloc[0]
    assert change["change_pct"] == -100
    assert change["change_pct_stderr"] == pytest.approx(100 * 0.3 / 10)


def test_only_sequences_that_are_there_are_paired(scores):
    effect = order_effect(scores, ["P", "Q", "F"]).set_index(["first", "second"])
    assert list(effect.index) == [("P>Q", "Q>P"), ("P>Q>F", "P>F>Q")]
    assert effect.loc[("P>Q", "Q>P"), "difference"] == 2
    assert effect.loc[("P>Q", "Q>P"), "stderr"] == pytest.approx(0.3 * np.sqrt(2))
    assert effect.loc[("P>Q>F", "P>F>Q"), "reason"] == "no kernel"


@pytest.mark.parametrize(
    ("first", "second", "operations"),
    [
        ("P>Q", "Q>P", "P and Q"),
        ("P>F>Q", "F>P>Q", "P and F"),
        ("P>F>Q", "P>Q>F", "F and Q"),
        ("P>F>Q", "Q>F>P", ""),
        ("P>F>Q", "F>Q>P", ""),
    ],
)
def test_neighbours_that_swap(first, second, operations):
    assert swapped(first, second) == operations
