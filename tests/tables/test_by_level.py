"""Tables: what is marked, what is noted, and that each format says the same."""

import io

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from meltpoint.analysis.frame import COLUMNS, PERPLEXITY_COLUMNS, read_cells, read_published
from meltpoint.analysis.levels import level_key, level_label
from meltpoint.errors import MeltpointError
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.report.pages import CELLS


def spec(**changes):
    return Table(source="x", value="ppl", **changes)


def cell(method, level, value, **changes):
    row = dict.fromkeys(COLUMNS, "") | {"value": value, "stderr": 0.1, "difference": value - 5}
    row |= {"difference_stderr": 0.01, "model": "m", "method": method, "level": level}
    row |= {"requested": np.nan, "achieved": np.nan, "chain": f"{method}@{level}"}
    row |= {"evaluation": "ppl", **PERPLEXITY_COLUMNS, "status": "ok", "source": "measured"}
    return row | changes


def frame(*cells):
    dense = cell("dense", "", 5.0, chain="dense", difference=0.0)
    return pd.DataFrame([dense, *cells])


def entries(table):
    return {labels[0]: row for labels, row in table.rows}


def marks(table, column):
    return {name: row[column].mark for name, row in entries(table).items()}


def test_of_a_single_draw_no_deviation_is_known():
    """Its standard error is something else; what has not the setting keeps its own."""
    cells = [cell("a", "0.5", 6.0, settings="seed=3"), cell("b", "0.5", 7.0)]
    table = tables.build(frame(*cells), spec(average_over="seed", error=True))
    assert {name: row[1].error for name, row in entries(table).items()} == {"a": "", "b": "0.10"}


def test_levels_sort_as_readers_expect():
    levels = ["4bit", "q4_k_m", "4of8", "0.5", "2of4", "8bit", "0.05", "q8_0"]
    expected = ["0.05", "0.5", "2of4", "4of8", "8bit", "4bit", "q8_0", "q4_k_m"]
    assert sorted(levels, key=level_key) == expected
    assert [level_label(x) for x in ("2of4", "4bit", "0.5", "")] == ["2:4", "4-bit", "0.5", "–"]


def test_best_and_second_exclude_dense_and_what_is_not_finite():
    cells = [cell("a", "0.5", 6.0), cell("b", "0.5", 7.0), cell("c", "0.5", 8.0)]
    table = tables.build(frame(*cells, cell("d", "0.5", -np.inf), cell("e", "0.5", np.nan)), spec())
    assert table.heads == ["dense", "0.5"]
    assert marks(table, 0) == dict.fromkeys("abcde", "")
    assert marks(table, 1) == {"a": "best", "b": "second", "c": "", "d": "", "e": ""}
    printed = tables.to_markdown(table)
    assert "**6.00**" in printed
    assert "<u>7.00</u>" in printed
    assert "-inf" in printed
    assert "nan" in printed
    assert "bold: the best; underlined: the second" in printed
    assert "underlined" not in tables.to_markdown(tables.build(frame(cells[0]), spec()))


def test_equal_print_equal_mark():
    cells = [cell("a", "0.5", 6.001), cell("b", "0.5", 6.004), cell("c", "0.5", 8.0)]
    table = tables.build(frame(*cells), spec())
    assert marks(table, 1) == {"a": "best", "b": "best", "c": ""}
    finer = tables.build(frame(*cells), spec(digits=3))
    assert marks(finer, 1) == {"a": "best", "b": "second", "c": ""}


def test_accuracy_is_better_when_higher():
    cells = [
        cell(m, "0.5", v, better="higher") for m, v in zip("abc", (0.5, 0.7, 0.6), strict=True)
    ]
    assert marks(tables.build(frame(*cells), spec()), 1) == {"a": "", "b": "best", "c": "second"}


def test_models_are_marked_apart():
    other = [cell(m, "0.5", v, model="n") for m, v in (("a", 9.0), ("b", 8.0))]
    table = tables.build(frame(cell("a", "0.5", 6.0), cell("b", "0.5", 7.0), *other), spec())
    found = [(labels, row[-1].mark) for labels, row in table.rows]
    assert table.labels == ["model", "method"]
    assert found == [(["m", "a"], "best"), (["m", "b"], ""), (["n", "a"], ""), (["n", "b"], "best")]


def test_reasons_are_listed_once_and_missing_cells_are_dashes():
    na = {"status": "not_applicable", "reason": "258 is no multiple of 8"}
    cells = [
        cell("a", "0.5", 6.0),
        cell("b", "4of8", np.nan, **na),
        cell("c", "4of8", np.nan, **na),
    ]
    table = tables.build(frame(*cells), spec())
    assert table.notes == {"a": "258 is no multiple of 8"}
    printed = tables.to_markdown(table)
    assert printed.count("N/A<sup>a</sup>") == 2
    assert printed.count("258 is no multiple of 8") == 1
    assert [e.text for e in entries(table)["a"]] == ["5.00", "6.00", "-"]


def test_the_achieved_sparsity_stands_beside():
    table = tables.build(frame(cell("a", "0.5", 6.0, requested=0.5, achieved=0.494)), spec())
    assert [e.small for e in entries(table)["a"]] == ["", "0.494"]
    assert "**6.00**" not in tables.to_markdown(table)
    assert "6.00 <sub>0.494</sub>" in tables.to_markdown(table)
    assert r"6.00\,{\scriptsize 0.494}" in tables.to_latex(table)
    assert "achieved sparsity" in tables.to_markdown(table)
    bare = tables.build(frame(cell("a", "0.5", 6.0, requested=0.5, achieved=0.494)),
                        spec(show_achieved=False))  # fmt: skip
    assert "0.494" not in tables.to_markdown(bare)


def test_labels_name_a_row_by_its_method_and_settings():
    swept = [cell("wanda", "0.5", 6.0, settings=s) for s in ("", "allocation=owl")]
    named = tables.build(frame(*swept), spec(labels={"wanda,allocation=owl": "OWL"}))
    assert named.labels == ["method"]
    assert [labels for labels, _ in named.rows] == [["wanda"], ["OWL"]]


def test_what_is_published_stands_under_its_row_with_the_difference():
    ours = [cell("wanda", x, v) for x, v in (("0.5", 6.5), ("0.6", 9.0))]
    others = [cell("magnitude", "0.5", 7.0)]
    theirs = pd.DataFrame([cell("Wanda", "0.5", 6.0, source="published")])
    table = tables.build(
        frame(*ours, *others),
        spec(compare_with={"wanda": "Wanda"}, published="mpt_unstructured_ppl"),
        theirs,
    )
    printed = [(labels[0], [e.text for e in row]) for labels, row in table.rows]
    assert printed == [
        ("wanda", ["5.00", "6.50", "9.00"]),
        ("Wanda, published", ["", "6.00", "-"]),
        ("difference", ["", "+0.50", "-"]),
        ("magnitude", ["5.00", "7.00", "-"]),
    ]
    assert marks(table, 1)["wanda"] == "best"


def test_a_row_for_all_seeds_has_their_mean_and_deviation():
    seeds = [cell("a", "0.5", v, settings=f"seed={i}") for i, v in enumerate((6.0, 7.0, 8.0))]
    pairs = [cell("b", "0.5", v, settings=f"group=row,seed={i}") for i, v in enumerate((5.0, 5.5))]
    table = tables.build(
        frame(*seeds, *pairs, cell("c", "0.5", 9.0)), spec(average_over="seed", error=True)
    )
    assert [labels for labels, _ in table.rows] == [["a", "default"], ["b", "group=row"],
                                                    ["c", "default"]]  # fmt: skip
    text = tables.to_markdown(table)
    assert "<u>7.00</u> ± 1.00" in text
    assert "**5.25** ± 0.35" in text
    assert "means over seed; ±: standard deviation" in text
    back = pd.read_csv(io.StringIO(tables.to_csv(table))).set_index("method")
    assert back["count"].to_dict() == {"dense": 1, "a": 3, "b": 2, "c": 1}


def test_settings_and_order_make_the_rows():
    swept = [cell(m, "0.5", 6.0, settings=s) for m in "ab" for s in ("", "calibration=ptb")]
    table = tables.build(frame(*swept), spec(order=["b"]))
    assert table.labels == ["method", "settings"]
    names = [("b", "default"), ("b", "calibration=ptb"), ("a", "default"), ("a", "calibration=ptb")]
    assert [tuple(labels) for labels, _ in table.rows] == names


def test_difference_and_error_are_printed():
    table = tables.build(frame(cell("a", "0.5", 6.0)), spec(show="difference", error=True))
    assert table.heads == ["0.5"]
    assert "+1.00 ± 0.01" in tables.to_markdown(table)
    assert r"+1.00 $\pm$ 0.01" in tables.to_latex(table)


def test_csv_gives_back_every_digit():
    value = 1 / 3
    table = tables.build(frame(cell("a", "0.5", value), cell("b", "0.5", np.inf)), spec())
    back = pd.read_csv(io.StringIO(tables.to_csv(table)))
    assert back["value"].tolist() == [5.0, value, np.inf]
    assert {"stderr", "difference", "achieved"} <= set(back)


def test_latex_is_escaped_and_balanced():
    cells = [cell("a_b", "0.5", 6.0), cell("c&d", "0.5", 7.0)]
    printed = tables.to_latex(tables.build(frame(*cells), spec(caption="50 % of {x}")))
    assert r"a\_b" in printed
    assert r"c\&d" in printed
    assert r"\caption{50 \% of \{x\}}" in printed
    assert r"\textbf{6.00}" in printed
    bare = printed.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    body = printed.split(r"\midrule")[1].split(r"\bottomrule")[0].replace(r"\&", "")
    assert {line.count("&") for line in body.strip().splitlines()} == {2}


def test_cells_are_read_with_their_infinities(tmp_path):
    path = tmp_path / "cell.json"
    CELLS[1].write(path)
    step = {"method": "wanda", "level": "0.5", "settings": "", "kind": "unstructured"}
    read = read_cells([path], {"wanda@0.5": step})
    assert list(read) == COLUMNS
    assert read["value"].iloc[0] == np.inf
    assert read["achieved"].iloc[0] == 0.5
    assert read[["method", "level", "source"]].iloc[0].tolist() == ["wanda", "0.5", "measured"]


def test_a_broken_cell_is_one_sentence(tmp_path):
    path = tmp_path / "cell.json"
    path.write_text('{"model": "m"')
    with pytest.raises(MeltpointError, match=r"cell\.json is not a cell that can be read"):
        read_cells([path], {})


def test_published_rows_stand_below():
    published = pd.concat([read_cells([], {}), read_published("mpt_unstructured_ppl", "wikitext2")])
    declared = Table(source="x", value="wikitext2", published="mpt_unstructured_ppl", digits=4)
    text = tables.to_markdown(tables.build(published, declared))
    row = next(line for line in text.splitlines() if line.startswith("| SparseGPT "))
    assert "8.1100" in row
    assert "2:4" in text.splitlines()[0]
    assert len(published) == 83


def test_an_unknown_published_table_is_refused():
    with pytest.raises(ValidationError, match="unknown published table: did you mean"):
        Table(source="x", value="y", published="mpt_unstructured_pp")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compare_with": {"ria": "RIA"}}, "name the published table"),
        ({"published": "mpt_unstructured_ppl", "show": "difference"}, "have no difference"),
    ],
)
def test_published_values_are_shown_as_values(changes, message):
    with pytest.raises(ValidationError, match=message):
        Table(source="x", value="y", **changes)


# --- refused scores ----------------------------------------------------------------------------------

REFUSED = {"status": "refused", "reason": "7 of 10 answers are empty"}


def test_a_refused_score_is_printed_as_such_and_does_not_compete():
    cells = [
        cell("a", "0.5", 6.0),
        cell("b", "0.5", np.nan, **REFUSED),
        cell("c", "0.5", 7.0),
    ]
    table = tables.build(frame(*cells), spec())
    assert entries(table)["b"][1].text == "refused"
    assert table.notes == {"a": "7 of 10 answers are empty"}
    assert marks(table, 1) == {"a": "best", "b": "", "c": ""}
    assert "refused<sup>a</sup>" in tables.to_markdown(table)


def test_a_mean_leaves_refused_scores_out_and_says_so():
    cells = [cell("a", "0.5", v, settings=f"seed={n}") for n, v in enumerate((6.0, 7.0), 1)]
    cells.append(cell("a", "0.5", np.nan, settings="seed=3", **REFUSED))
    table = tables.build(frame(*cells), spec(average_over="seed"))
    assert entries(table)["a"][1].text == "6.50"
    assert list(table.notes.values()) == ["1 of 3 refused, and left out of the mean"]
    alone = tables.build(frame(cells[-1]), spec(average_over="seed"))
    assert entries(alone)["a"][1].text == "refused"


# --- names of scores ---------------------------------------------------------------------------------


def test_a_table_shows_the_score_that_it_names():
    other = {"score": "bits_per_byte", "main": False, "label": "bits per byte"}
    cells = [cell("a", "0.5", 6.0), cell("a", "0.5", 1.5, **other)]
    shown = pd.concat([frame(*cells), frame(cell("a", "0.5", 9.0)).assign(evaluation="ppl.b")])
    for value, printed in (
        ("ppl", "6.00"),
        ("ppl.perplexity", "6.00"),
        ("ppl.bits_per_byte", "1.50"),
    ):
        table = tables.build(shown, Table(source="x", value=value))
        assert entries(table)["a"][-1].text == printed
        assert set(table.cells["score"]) == {"bits_per_byte" if printed == "1.50" else "perplexity"}
