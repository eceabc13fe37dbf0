"""Tables of changes: a row for each compared pair of sequences, the published number beside ours."""

from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.support.operation_frames import OPERATIONS, REASON, SCORES, frame


def build(cells=None, **keys):
    keys = {"value": SCORES, "columns": "evaluation", "operations": OPERATIONS, **keys}
    spec = Table(source="x", layout="changes", digits={"mmlu.stem": 1}, **keys)
    return tables.build(frame() if cells is None else cells, spec)


def rows_of(table):
    return {tuple(labels): entries for labels, entries in table.rows}


def test_a_row_has_the_change_of_each_score_with_its_error():
    table = build()
    assert (table.labels, table.heads) == (["from", "to"], ["LawBench %", "STEM %"])
    rows = rows_of(table)
    assert list(rows)[2:4] == [("dense", "P→Q"), ("dense", "Q→P")]
    law, stem = rows["dense", "P"]
    assert (law.text, law.error) == ("-20.00", "1.00")
    assert (stem.text, stem.error) == ("-20.0", "2.0")


def test_what_an_operation_changes_is_compared_with_what_was_before_it():
    assert list(rows_of(build(change="Q"))) == [("P", "P→Q")]


def test_the_published_number_stands_beside_ours():
    table = build(published_metrics={"lawbench": "lawbench"}, footnotes=["one", "two"])
    assert table.heads == ["LawBench %", "published", "STEM %"]
    rows = rows_of(table)
    assert [entry.text for entry in rows["dense", "F"]] == ["+100.00", "+97.83", "+20.0"]
    printed = tables.to_markdown(table)
    assert "on Qwen2.5-3B" in printed
    assert "two" in printed
    assert "published_change_pct" in tables.to_csv(table).splitlines()[0]


def test_scores_that_are_not_there_say_why():
    cells = frame()
    refused = (cells["chain"] == "shortgpt@0.2") & (cells["evaluation"] == "mmlu")
    cells.loc[refused, ["value", "status", "reason"]] = [float("nan"), "refused", "one letter"]
    table = build(cells)
    rows = rows_of(table)
    assert [entry.text for entry in rows["dense", "P→Q→F"]] == ["N/A", "N/A"]
    assert rows["dense", "P"][1].text == "refused"
    assert set(table.notes.values()) == {REASON, "one letter"}


def test_a_change_of_a_score_of_zero_has_no_percentage():
    cells = frame()
    cells.loc[(cells["chain"] == "dense") & (cells["evaluation"] == "lawbench"), "value"] = 0.0
    assert [entry.text for entry in rows_of(build(cells))["dense", "P"]] == ["-", "-20.0"]
