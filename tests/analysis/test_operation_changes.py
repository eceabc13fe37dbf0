"""Changes by operations: which sequences are compared, their errors, and the published numbers."""

import numpy as np
import pytest

from meltpoint.analysis.operation_changes import compared, own_changes, published_changes
from tests.support import kept_cells
from tests.support.operation_frames import OPERATIONS, REASON, SCORES, frame


def changes(change=""):
    table = own_changes(frame(), SCORES, OPERATIONS, change)
    return table.set_index(["from_sequence", "to_sequence", "metric"])


@pytest.mark.parametrize(
    ("sequence", "change", "pair"),
    [
        ("dense", "", None),
        ("P>Q", "", ("dense", "P>Q")),
        ("P>Q", "Q", ("P", "P>Q")),
        ("P>Q", "P", None),
        ("Q", "Q", ("dense", "Q")),
    ],
)
def test_what_a_sequence_is_compared_with(sequence, change, pair):
    assert compared(sequence, change) == pair


def test_against_the_dense_model_errors_are_those_of_its_differences():
    table = changes()
    assert list(dict.fromkeys(table.index.get_level_values("to_sequence"))) == [
        *("P", "F", "P>Q", "Q>P", "P>Q>F")
    ]
    row = table.loc["dense", "P", "lawbench"]
    assert (row["score_from"], row["score_to"], row["change_pct"]) == (10, 8, pytest.approx(-20))
    assert row["change_pct_stderr"] == pytest.approx(100 * 0.1 / 10)
    assert table.loc[("dense", "P", "mmlu.stem"), "change_pct"] == pytest.approx(-20)


def test_errors_of_samples_are_those_of_a_quotient(tmp_path):
    """A change of each window by the same factor has no error."""
    dense = kept_cells.losses()["dense"]
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(dense))
    raised = {"shortgpt@0.2": 0.2 + 0 * noise, "shortgpt@0.2+awq@4bit": 0.2 + noise}
    paths = [kept_cells.write(tmp_path, "dense", dense)]
    paths += [kept_cells.write(tmp_path, c, dense + x, dense=dense) for c, x in raised.items()]
    cells = kept_cells.frame(*paths)
    by_p, by_q = (own_changes(cells, ["ppl"], OPERATIONS, name).iloc[0] for name in "PQ")
    assert by_p["change_pct"] == pytest.approx(100 * (np.exp(0.2) - 1), abs=1e-3)
    assert by_p["change_pct_stderr"] == pytest.approx(0, abs=1e-3)
    assert by_q["change_pct"] == pytest.approx(100 * (np.exp(noise.mean()) - 1), abs=1e-3)
    expected = 100 * np.exp(noise.mean()) * noise.std(ddof=1) / np.sqrt(len(noise))
    assert by_q["change_pct_stderr"] == pytest.approx(expected, rel=1e-3)


def test_without_samples_errors_are_those_of_both_scores():
    table = changes("Q")
    assert list(table.index.droplevel("metric").unique()) == [("P", "P>Q")], "Q alone is not there"
    row = table.loc["P", "P>Q", "lawbench"]
    assert row["change_pct"] == pytest.approx(-25)
    expected = 75 * np.hypot(0.2 / 8, 0.2 / 6)
    assert row["change_pct_stderr"] == pytest.approx(expected)


def test_a_sequence_without_a_score_has_its_reason():
    row = changes().loc["dense", "P>Q>F", "lawbench"]
    assert (row["status"], row["reason"]) == ("not_applicable", REASON)
    assert np.isnan(row["change_pct"])


def test_published_changes_are_found_by_the_names_of_their_metrics():
    table = own_changes(frame(), SCORES, OPERATIONS, "")
    printed = published_changes(table, {"lawbench": "lawbench"}, "").set_axis(
        [table["to_sequence"], table["metric"]]
    )
    assert printed["F", "lawbench"] == 97.83
    assert printed["P", "lawbench"] == -26.49
    assert np.isnan(printed["F", "mmlu.stem"]), "no published metric is named for it"
    by_q = own_changes(frame(), SCORES, OPERATIONS, "Q")
    assert published_changes(by_q, {"lawbench": "lawbench"}, "Q").notna().sum() == 1
