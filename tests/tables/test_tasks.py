"""Tables and figures of tasks: scores, paired differences, flips, McNemar's test."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest

from meltpoint import figures
from meltpoint.analysis.significance import holm
from meltpoint.errors import MeltpointError
from meltpoint.figures.style import PALETTE
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.support import kept_answers, kept_cells

# Of 40 documents dense answers 30 right; the chains lose some of those and gain others.
DENSE = {"boolq": [True] * 30 + [False] * 10, "winogrande": [True, False] * 20}
HALF = {"boolq": [False] * 9 + [True] * 22 + [False] * 9, "winogrande": [True, False] * 20}
LOW = {"boolq": [False] * 20 + [True] * 20, "winogrande": [False, True] * 20}
HEADS = ["score", "difference", "lost", "gained", "flips (%)", "p", "p (Holm)"]


@pytest.fixture
def frame(tmp_path):
    chains = {"dense": DENSE, "wanda@0.5": HALF, "wanda@0.7": LOW}
    return kept_cells.frame(
        *(kept_answers.write(tmp_path, chain, right, DENSE) for chain, right in chains.items())
    )


def spec(**changes):
    return Table(**{"source": "x", "value": "answers", "layout": "tasks", "digits": 3, **changes})


def test_a_task_has_a_row_for_each_chain_with_its_flips(frame):
    table = tables.build(frame, spec(labels={"wanda": "Wanda"}))
    assert table.labels == ["task", "method"]
    assert table.heads == HEADS
    rows = {tuple(labels): entries for labels, entries in table.rows}
    assert list(rows)[:3] == [
        ("mean of tasks", "dense"),
        ("mean of tasks", "Wanda at 0.5"),
        ("mean of tasks", "Wanda at 0.7"),
    ]
    texts = [entry.text for entry in rows["boolq", "Wanda at 0.5"]]
    p = binomtest(1, 10).pvalue
    assert texts[:6] == ["0.550", "-0.200", "9", "1", "25.0", f"{p:.3f}"]
    assert rows["boolq", "dense"][0].error == "0.069"
    assert [entry.text for entry in rows["boolq", "dense"]][1:] == [""] * 6
    # No document is right or wrong for the mean of tasks of several documents each.
    assert [entry.text for entry in rows["mean of tasks", "Wanda at 0.5"]][2:] == [""] * 5
    ours = table.cells.set_index(["score", "chain"])
    tested = ours["p"].dropna()
    assert len(tested) == 4
    assert ours.loc["winogrande", "wanda@0.5"]["p"] == 1.0
    assert ours.loc[tested.index, "p_holm"].tolist() == pytest.approx(list(holm(tested.tolist())))
    assert ours.loc["winogrande", "wanda@0.7"]["flips"] == 1.0
    assert "corrected for the table's 4 tests" in tables.to_markdown(table)
    assert tables.to_csv(table).splitlines()[0].startswith("model,task,printed,chain")


def test_one_task_may_be_named(frame):
    table = tables.build(frame, spec(value="answers.winogrande"))
    assert [labels[0] for labels, _ in table.rows] == ["winogrande"] * 3


def test_a_refused_score_is_said(frame):
    changed = frame.copy()
    bad = (changed["chain"] == "wanda@0.7") & (changed["score"] == "boolq")
    changed.loc[bad, ["status", "reason", "sample"]] = ["refused", "NaN everywhere", None]
    table = tables.build(changed, spec())
    rows = {tuple(labels): entries for labels, entries in table.rows}
    entries = rows["boolq", "wanda at 0.7"]
    assert [entry.text for entry in entries] == ["refused"] + [""] * 6
    assert table.notes == {"a": "NaN everywhere"}


def test_another_engine_than_denses_has_no_test(tmp_path):
    paths = [
        kept_answers.write(tmp_path, "dense", DENSE),
        kept_answers.write(tmp_path, "gguf@q2_k", HALF, DENSE, engine="llama.cpp"),
    ]
    table = tables.build(kept_cells.frame(*paths), spec())
    (entries,) = [row for labels, row in table.rows if labels == ["boolq", "gguf at Q2_K"]]
    texts = [entry.text for entry in entries]
    assert texts == ["0.550", "-0.200", "-", "", "", "", ""]
    (note,) = table.notes.values()
    assert "the key 'engine' is 'llama.cpp' and None of their protocols" in note


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"average_over": "seed"}, "a table of tasks has a row for each chain"),
        ({"equivalence": "1%"}, "a table of tasks has none: write two tables"),
        ({"published": "mpt_gguf"}, "a table of tasks compares with dense alone"),
    ],
)
def test_keys_that_a_table_of_tasks_has_not_are_refused(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        spec(**changes)


def test_a_figure_has_a_panel_for_each_task_with_intervals(frame):
    drawn = {"source": "x", "kind": "tasks", "value": "answers"}
    figure = figures.draw(frame, None, figures.parse(drawn))
    assert [ax.get_title() for ax in figure.axes] == ["mean of tasks", "boolq", "winogrande"]
    ax = figure.axes[1]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["dense", "wanda 0.5", "wanda 0.7"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.75, 0.55, 0.5])
    reach = [np.ptp(segment[:, 0]) for segment in ax.collections[0].get_segments()]
    scores = frame[frame["score"] == "boolq"]
    assert reach == pytest.approx(list(2 * 1.96 * scores["stderr"]))


def test_a_figure_says_what_chance_gives(frame):
    drawn = {"source": "x", "kind": "tasks", "value": "answers"}
    figure = figures.draw(frame, None, figures.parse(drawn))
    for ax in figure.axes:
        chance = [line for line in ax.lines if line.get_color() == PALETTE[1]]
        assert {line.get_xdata()[0] for line in chance} == {0.5}
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["dense", "chance: 0.5"]
    unknown = figures.draw(frame.drop(columns="sample"), None, figures.parse(drawn))
    assert [text.get_text() for text in unknown.legends[0].get_texts()] == ["dense"]


def test_a_figure_without_a_value_is_refused(frame):
    drawn = {"source": "x", "kind": "tasks", "value": "answers"}
    with pytest.raises(MeltpointError, match="No cell of answers has a score of a task"):
        figures.draw(frame.assign(status="not_applicable"), None, figures.parse(drawn))
