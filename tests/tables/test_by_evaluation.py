"""Tables whose columns are evaluations, and what of published tables stands beside quantization."""

import io

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from meltpoint.analysis.frame import read_published
from meltpoint.analysis.levels import level_key, level_label, nominal_bits
from meltpoint.analysis.published_match import pairs
from meltpoint.analysis.quantities import perplexities, quantity
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.support.quantized_frames import absent, cell, combined, measured, quantized

SHOWN = ["ppl", "bits", "bytes", "speed"]
COMPARED = {"gptq": "GPTQ", "nf4": "QLoRA_NF4"}


def build(frame, **changes):
    spec = Table(source="x", **{"columns": "evaluation", "value": SHOWN} | changes)
    (name, *_) = perplexities(frame, spec.evaluations)
    theirs = read_published(spec.published, name) if spec.published else None
    return tables.build(frame, spec, theirs)


def column(table, head):
    """The entries of a column by method and level."""
    place = table.heads.index(head)
    return {tuple(names[-2:]): row[place] for names, row in table.rows}


def test_a_row_for_each_chain_dense_first():
    table = build(quantized())
    assert table.labels == ["method", "level"]
    assert table.heads == ["perplexity, ppl", "bits per weight", "size (kB)", "generated tokens/s"]
    names = [tuple(names) for names, _ in table.rows]
    assert names[:3] == [("dense", ""), ("gptq", "8-bit"), ("gptq", "4-bit")]
    assert names[-1] == ("nf4", "–")
    assert len(names) == 1 + 2 * 4 + 1


def test_each_column_has_its_own_direction_and_dense_does_not_compete():
    table = build(quantized())
    marks = {head: {k: e.mark for k, e in column(table, head).items()} for head in table.heads}
    assert marks["perplexity, ppl"]["gptq", "8-bit"] == "best"
    assert marks["size (kB)"]["gptq", "2-bit"] == "best"
    assert marks["bits per weight"]["gptq", "2-bit"] == "best"
    assert marks["generated tokens/s"]["gptq", "2-bit"] == "best"
    assert marks["generated tokens/s"]["gptq", "8-bit"] == ""
    assert {of[("dense", "")] for of in marks.values()} == {""}


def test_units_are_those_of_the_columns_size():
    for weights, unit, printed in ((1e6, "MB", "0.5"), (6.7e9, "GB", "3.6")):
        rows = [
            *measured("m", "dense", 16, 5.5, weights),
            *measured("m", "a@4bit", 4.25, 6, weights),
        ]
        table = build(pd.DataFrame(rows), digits={"bytes": 1})
        assert column(table, f"size ({unit})")["a", "4-bit"].text == printed
        back = pd.read_csv(io.StringIO(tables.to_csv(table)))
        assert back.loc[back["evaluation"] == "bytes", "value"].tolist()[1] == 4.25 * weights / 8


def test_digits_and_errors_by_column():
    table = build(quantized(), digits={"ppl": 4, "bytes": 0}, error=True)
    assert column(table, "perplexity, ppl")["gptq", "4-bit"].text == "5.6602"
    assert column(table, "perplexity, ppl")["gptq", "4-bit"].error == "0.0566"
    assert column(table, "size (kB)")["gptq", "4-bit"].text == "531"
    assert column(table, "bits per weight")["gptq", "4-bit"].text == "4.25"
    assert column(table, "bits per weight")["gptq", "4-bit"].error == ""


def test_a_reason_is_a_note_in_each_column_and_does_not_compete():
    table = build(absent(quantized(), "rtn@2bit"))
    assert table.notes == {"a": "no 2-bit kernel"}
    assert {column(table, head)["rtn", "2-bit"].text for head in table.heads} == {"N/A"}
    assert tables.to_markdown(table).count("no 2-bit kernel") == 1


def test_what_is_not_measured_is_a_dash():
    frame = quantized()
    frame = frame[~((frame["chain"] == "nf4") & (frame["evaluation"] == "speed"))]
    assert column(build(frame), "generated tokens/s")["nf4", "–"].text == "-"


def test_columns_stay_in_line_where_a_perplexity_is_not_measured():
    frame = quantized()
    frame = frame[~((frame["chain"] == "gptq@4bit") & (frame["evaluation"] == "ppl"))]
    table = build(frame, value=["ppl", "bits"], published="mpt_quant_ppl", compare_with=COMPARED)
    row = next(row for names, row in table.rows if names == ["gptq", "4-bit"])
    assert [e.text for e in row] == ["-", "", "", "4.25"]


def test_differences_to_dense_where_they_are_known():
    rows = [cell("m", "dense", "ppl", 5.0), cell("m", "dense", "speed", 9.0)]
    rows += [cell("m", "a@4bit", "ppl", 5.5, difference=0.5), cell("m", "a@4bit", "speed", 30.0)]
    table = build(pd.DataFrame(rows), value=["ppl", "speed"], show="difference")
    assert [[e.text for e in row] for _, row in table.rows] == [["+0.50", "-"]]


def test_the_achieved_sparsity_is_said_once_in_a_row():
    rows = measured("m", "dense", 16, 5) + measured("m", "wanda@0.5", 9, 6)
    frame = pd.DataFrame(rows).assign(requested=0.5, achieved=0.494)
    found = [e.small for names, row in build(frame).rows if names[0] == "wanda" for e in row]
    assert found == ["0.494", "", "", ""]


def test_published_perplexities_stand_right_of_ours():
    table = build(quantized(), published="mpt_quant_ppl", compare_with=COMPARED)
    assert table.heads[:3] == ["perplexity, ppl", "published", "difference"]
    theirs, above = column(table, "published"), column(table, "difference")
    assert (theirs["gptq", "4-bit"].text, above["gptq", "4-bit"].text) == ("5.75", "-0.09")
    assert (theirs["nf4", "–"].text, above["nf4", "–"].text) == ("5.65", "+0.05")
    assert theirs["rtn", "4-bit"].text == ""
    assert "mpt_quant_ppl" in tables.to_markdown(table)


def test_llama_cpps_perplexity_is_a_perplexity_of_its_own():
    frame = quantized()
    assert perplexities(frame, ["ppl", "bits", "llama"]) == ["ppl", "llama"]
    assert str(quantity(frame[frame["evaluation"] == "llama"])) == "perplexity (llama.cpp)"
    table = build(frame, value=["bits", "llama"], published="mpt_quant_ppl", compare_with=COMPARED)
    assert table.heads[1:] == ["perplexity (llama.cpp), llama", "published", "difference"]
    theirs, above = column(table, "published"), column(table, "difference")
    assert (theirs["gptq", "4-bit"].text, above["gptq", "4-bit"].text) == ("5.75", "+0.48")


@pytest.mark.parametrize("columns", ["evaluation", "level"])
def test_what_is_published_of_one_model_stands_beside_that_one_alone(columns):
    shown = {"columns": columns, "value": "ppl" if columns == "level" else ["ppl"]}
    said = {"published": "mpt_quant_ppl", "compare_with": COMPARED, "published_model": "b"}
    table = build(quantized(("a", "b")), **shown, **said)
    printed = {(names[0], entry.text) for names, row in table.rows for entry in row}
    assert {model for model, text in printed if text in ("5.75", "5.65")} <= {"b", ""}
    texts = [[e.text for e in row] for _, row in table.rows]
    assert sum(row.count("5.75") for row in texts) == 1
    assert sum(row.count("1784.16") for row in texts) == 1
    if columns == "level":
        lines = [names for names, _ in table.rows]
        assert lines.index(["", "GPTQ, published"]) > lines.index(["b", "gptq"])


@pytest.mark.parametrize("columns", ["evaluation", "level"])
def test_of_what_has_no_number_there_is_no_difference(columns):
    """Ours is not applicable at 2 bits, infinite at 3; of 8 nothing was published of AWQ."""
    frame = absent(quantized(methods=("awq", "gptq")), "gptq@2bit")
    frame.loc[(frame["chain"] == "gptq@3bit") & (frame["evaluation"] == "ppl"), "value"] = np.inf
    shown = {"columns": columns, "value": "ppl" if columns == "level" else ["ppl"]}
    said = {"published": "mpt_quant_ppl", "compare_with": {"gptq": "GPTQ", "awq": "AWQ"}}
    table = build(frame, **shown, **said)
    assert "nan" not in tables.to_markdown(table)
    assert "+inf" not in tables.to_markdown(table)
    if columns == "level":
        rows = [[e.text for e in row] for names, row in table.rows if names == ["difference"]]
        assert rows == [["", "-", "+0.06", "+0.13", "-", "-"], ["", "+0.03", "+0.02", *"---"]]
    else:
        above = column(table, "difference")
        found = [above["gptq", f"{bits}-bit"].text for bits in (8, 4, 3, 2)]
        assert found == ["+0.03", "+0.02", "-", "-"]
        assert above["awq", "8-bit"].text == ""


def test_published_schemes_stand_by_model():
    frame = quantized(("llama2-7b", "gemma"), ("gguf",), schemes=True)
    said = {"published": "mpt_gguf_families", "published_models": {"llama2-7b": "LLaMA-2-7B"}}
    table = build(frame, value=["ppl", "bytes"], **said)
    theirs = {tuple(names): row[1].text for names, row in table.rows}
    assert theirs["llama2-7b", "gguf", "Q8_0"] == "6.16"
    assert theirs["llama2-7b", "gguf", "Q2_K"] == "6.69"
    assert theirs["llama2-7b", "gguf", "Q4_K_S"] == ""
    assert theirs["gemma", "gguf", "Q8_0"] == ""
    across = build(frame, columns="level", value="ppl", **said)
    lines = [(names, [e.text for e in row]) for names, row in across.rows]
    assert [names[1] for names, _ in lines[:3]] == ["gguf", "LLaMA-2-7B, published", "difference"]
    assert lines[1][1] == ["", "6.16", "6.17", "6.24", "-", "6.34", "6.69"]


def test_published_columns_stand_beside_other_scores():
    said = {"published": "mpt_gguf", "published_models": {"qwen": "Qwen2.5-1.5B"}}
    said |= {"value": ["ppl", "bits"], "published_columns": {"bits": "arc_e"}}
    spec = Table(source="x", columns="evaluation", **said)
    frame = quantized(("qwen",), ("gguf",), schemes=True)
    theirs = [read_published("mpt_gguf", "ppl"), read_published("mpt_gguf", "bits", "arc_e")]
    table = tables.build(frame, spec, pd.concat(theirs))
    heads = ["perplexity, ppl", "published", "difference", "bits per weight"]
    assert table.heads == [*heads, "published", "difference"]
    row = next(row for names, row in table.rows if names[-1] == "Q8_0")
    raw = pd.read_csv("resources/published/mpt_gguf.csv").set_index(["model", "scheme"])
    published = raw.loc["Qwen2.5-1.5B", "Q8_0"]
    assert [row[1].text, row[4].text] == [f"{published[key]:.2f}" for key in ("ppl", "arc_e")]
    assert float(row[5].text) == pytest.approx(8.5 - published["arc_e"])


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"bit": "arc_e"}, "'bit' is not shown.*bits"),
        ({"bits": "arc_d"}, "mpt_gguf has no column 'arc_d'.*arc_"),
    ],
)
def test_a_wrong_published_column_is_refused(columns, sentence):
    said = {"published": "mpt_gguf", "published_models": {"qwen": "Qwen2.5-1.5B"}}
    with pytest.raises(ValidationError, match=sentence):
        Table(
            source="x",
            columns="evaluation",
            value=["ppl", "bits"],
            published_columns=columns,
            **said,
        )


def test_published_chains_stand_beside_chains():
    table = build(
        combined(),
        columns="level",
        value="ppl",
        published="mpt_combined_ppl",
        compare_with={"sparsegpt+gptq": "SparseGPT+GPTQ"},
    )
    row = next(row for names, row in table.rows if names == ["SparseGPT+GPTQ, published"])
    published = dict(zip(table.heads, (e.text for e in row), strict=True))
    raw = read_published("mpt_combined_ppl", "ppl").set_index("chain")["value"]
    assert published["0.5 + 4-bit"] == f"{raw['SparseGPT@0.5+GPTQ@4bit']:.2f}" == "6.52"
    assert published["0.5"] == "-"


def test_published_rows_stand_below_in_the_column_of_the_perplexity():
    frame = pd.concat([quantized(), read_published("mpt_quant_ppl", "ppl")], ignore_index=True)
    table = tables.build(frame, Table(source="x", columns="evaluation", value=["bits", "ppl"]))
    row = next(row for names, row in table.rows if names == ["published", "AWQ", "4-bit"])
    assert [e.text for e in row] == ["-", "5.60"]


def test_levels_that_are_spelled_otherwise_stand_for_each_other_where_they_are_alone():
    assert pairs(["8bit", "4bit"], ["4bit", "2bit"], "gptq") == [("4bit", "4bit")]
    assert pairs([""], ["8bit"], "int8") == [("", "8bit")]
    assert pairs(["w8a8"], ["8bit"], "smoothquant") == [("w8a8", "8bit")]
    assert pairs(["q4_k_m", "q4_k_s", "q8_0"], ["4bit", "8bit"], "gguf") == [("q8_0", "8bit")]
    assert pairs(["0.5+q8_0"], ["0.5+8bit"], "wanda+gguf") == []


@pytest.mark.parametrize(
    ("level", "method", "bits"),
    [
        *[("4bit", "gptq", 4), ("q4_k_m", "gguf", 4), ("iq2_xs", "gguf", 2), ("f16", "gguf", 16)],
        *[("w8a8", "smoothquant", 8), ("", "nf4", 4), ("", "int8", 8), ("0.5+4bit", "a+b", 4)],
        *[("2of4", "wanda", np.nan), ("0.5", "wanda", np.nan), ("", "lora", np.nan)],
    ],
)
def test_nominal_bits(level, method, bits):
    np.testing.assert_equal(nominal_bits(level, method), float(bits))


def test_levels_of_chains_sort_and_read():
    levels = ["0.5+4bit", "4bit", "0.3+4bit", "0.5", "0.5+8bit", "8bit"]
    expected = ["0.5", "8bit", "4bit", "0.3+4bit", "0.5+8bit", "0.5+4bit"]
    assert sorted(levels, key=level_key) == expected
    assert [level_label(x) for x in ("0.5+4bit", "q4_k_m", "w8a8")] == [
        "0.5 + 4-bit", "Q4_K_M", "W8A8"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "ppl"}, "value: one evaluation where the columns are levels"),
        ({"value": ["ppl"], "columns": "level"}, "value: one evaluation where the columns are lev"),
        ({"value": ["ppl", "ppl"]}, "an evaluation is there twice"),
        ({"digits": {"bites": 1}}, "digits: 'bites' is not shown: did you mean 'bits'"),
        ({"digits": 9}, "less than or equal to 8"),
        ({"published": "mpt_quant_ppl", "show": "difference"}, "have no difference"),
        ({"published": "mpt_quant_ppl", "published_model": "m"}, "published_model: name the rows"),
    ],
)
def test_what_makes_no_table_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Table(source="x", **{"columns": "evaluation", "value": SHOWN} | changes)
