"""Published tables: that they are read as they are, and what is said of one that is wrong."""

import math
import shutil

import numpy as np
import pytest

from meltpoint.analysis.frame import read_published
from meltpoint.data.published import FOLDER, methods, models, names
from meltpoint.data.published.frames import read
from meltpoint.data.published.rows import MODELS
from meltpoint.errors import MeltpointError

ROWS = {
    **{"mpt_structured_ppl": 46, "mpt_unstructured_ppl": 83, "mpt_quant_ppl": 14},
    **{"mpt_unstructured_ptb_calibration_ppl": 48, "mpt_gguf": 64, "mpt_gguf_families": 43},
    **{"mpt_lowrank_ppl": 54, "mpt_combined_ppl": 214, "mpt_figure_points": 255},
    **{"mpt_phase_points": 18, "mpt_phase_ranges": 4, "opseq_scores": 16},
    **{"opseq_published_changes": 81, "hgsp_search": 135, "decoding_mbpp": 32},
}


@pytest.fixture
def changed(tmp_path):
    """Reads a copy of a table in which one text is replaced, the first time it stands there."""

    def read_changed(name, old, new):
        shutil.copy(FOLDER / f"{name}.csv", tmp_path)
        path = tmp_path / f"{name}.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return read(name, tmp_path)

    return read_changed


@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_every_table_is_read(name, rows):
    table = read(name)
    assert len(table) == rows
    assert set(MODELS[name].model_fields) <= set(table)


def test_every_file_has_a_model():
    assert {file.stem for file in FOLDER.glob("*.csv")} == set(ROWS) == set(MODELS)
    assert set(names()) <= set(MODELS)


def test_nan_and_inf_are_values_and_empty_is_missing():
    table = read("mpt_unstructured_ppl")
    assert table["ppl"].isna().sum() == 1
    assert np.isinf(read("hgsp_search")["grad_norm_ratio"]).sum() == 12
    assert read("mpt_gguf")["mmlu"].isna().sum() == 19


def test_levels_are_spelled_as_everywhere():
    assert {"0.5", "2of4", "4of8"} <= set(read("mpt_unstructured_ppl")["level"])
    frame = read_published("mpt_unstructured_ppl", "ppl").set_index("chain")
    assert frame.loc["SparseGPT@2of4", "requested"] == 0.5


WRONG = [
    ("mpt_unstructured_ppl", "level,ppl", "level,perplexity", 1, "ppl"),
    ("mpt_unstructured_ppl", "level,ppl", "ppl,ppl", 1, "level"),
    ("mpt_unstructured_ppl", "Magnitude,default,0.2", "Magnitude,default,banana", 3, "level"),
    ("mpt_unstructured_ppl", "Magnitude,default,0.2", "Magnitude,default,4bit", 3, "level"),
    ("mpt_unstructured_ppl", "Magnitude,default,0.2", "Magnitude,default,0.10", 3, "level"),
    ("mpt_unstructured_ppl", "5.3292", "5,3292", 3, "ppl"),
    ("mpt_unstructured_ppl", "5.3292", "about 5", 3, "ppl"),
    ("mpt_unstructured_ppl", "5.3292", "", 3, "ppl"),
    ("mpt_combined_ppl", "8,ASVD,FP16,0.00,ptb", "8,ASVD,FP16,1.00,ptb", 3, "ratio"),
    ("mpt_combined_ppl", "8,ASVD,FP16,0.00,ptb", "8,ASVD,FP17,0.00,ptb", 3, "quantization"),
    ("mpt_quant_ppl", "GPTQ,3", "GPTQ,33", 3, "bits"),
    ("mpt_gguf", "Qwen2.5-0.5B,3", ",3", 3, "model"),
    ("mpt_quant_ppl", "GPTQ,3,7.5768", "GPTQ,3", 3, "ppl"),
    ("opseq_scores", "5.8,true", "5.8,yes", 2, "applicable"),
    ("decoding_mbpp", "Llama-2-7B,beam,beam,19.4", "Llama-2-7B,beam,beam,194", 3, "pass_at_1"),
    ("hgsp_search", "Llama,taylor,16,256", "Llama,taylor,16.5,256", 3, "taylor_seq_len"),
]


@pytest.mark.parametrize(("name", "old", "new", "row", "column"), WRONG)
def test_what_is_wrong_is_one_sentence_with_row_and_column(changed, name, old, new, row, column):
    with pytest.raises(MeltpointError) as caught:
        changed(name, old, new)
    said = str(caught.value)
    assert f"{name}.csv, row {row}" in said
    assert repr(column) in said
    assert "\n" not in said


def test_a_duplicate_names_both_rows(changed):
    with pytest.raises(
        MeltpointError, match=r"row 3, .*method Magnitude, level 0.1 is in row 2 already"
    ):
        changed("mpt_unstructured_ppl", "Magnitude,default,0.2", "Magnitude,default,0.1")


@pytest.mark.parametrize("content", [b"", b"method,level,ppl\n", b"\xff\xfe\x00", None])
def test_no_table_at_all_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / "mpt_unstructured_ppl.csv").write_bytes(content)
    with pytest.raises(MeltpointError, match=r"mpt_unstructured_ppl\.csv"):
        read("mpt_unstructured_ppl", tmp_path)


def test_a_table_of_ones_own_needs_method_level_and_ppl(tmp_path):
    (tmp_path / "mine.csv").write_text("method,level,ppl,source\nwanda,0.5,inf,here\n")
    row = read("mine", tmp_path).iloc[0]
    assert (row["level"], row["ppl"], row["source"]) == ("0.5", math.inf, "here")


def test_an_empty_cell_is_missing_only_where_the_column_allows_it(changed):
    assert math.isnan(changed("mpt_gguf", "0.43,0.62,0.231", "0.43,0.62,")["mmlu"][0])
    with pytest.raises(MeltpointError, match=r"row 2, column 'tokens_per_s'.*it is ''"):
        changed("mpt_gguf", "5593.6", "")


def test_quantization_is_spelled_as_in_a_chain():
    found = {name: set(read_published(name, "ppl")["chain"]) for name in names() if "mpt_" in name}
    assert {"GPTQ@4bit", "SmothQuant w8a8@8bit"} <= found["mpt_quant_ppl"]
    assert {"GGUF@q4_k_m", "GGUF@f16", "GGUF@iq1_m"} <= found["mpt_gguf"]
    assert {"GGUF@q8_0", "GGUF@q2_k"} <= found["mpt_gguf_families"]
    assert {"SparseGPT@0.5+GPTQ@4bit", "Wanda@0.3+GGUF@q4_k_m"} <= found["mpt_combined_ppl"]
    assert {"ASVD@0.1+RTN@8bit", "RTN@6bit", "SparseGPT@0.5"} <= found["mpt_combined_ppl"]


def test_every_cell_of_a_published_table_is_named_once():
    for name in names():
        cells = read_published(name, "ppl")
        assert not cells.duplicated(["of", "chain"]).any(), name
        assert cells["value"].notna().any()
    assert len(read_published("mpt_gguf", "ppl")) == ROWS["mpt_gguf"]
    assert methods("mpt_quant_ppl")[0] == "GPTQ"
    assert "LLaMA-2-7B" in models("mpt_gguf_families")
    assert models("mpt_quant_ppl") == ()


def test_a_table_of_ones_own_may_hold_quantization(tmp_path):
    (tmp_path / "mine.csv").write_text(
        "method,level,ppl\ngptq,4bit,5.5\nsparsegpt+gguf,0.5+Q4_K_M,6\n"
    )
    assert list(read("mine", tmp_path)["level"]) == ["4bit", "0.5+q4_k_m"]
    (tmp_path / "mine.csv").write_text("method,level,ppl\ngptq,four,5.5\ngptq,1.5,6\n")
    with pytest.raises(MeltpointError, match=r"mine\.csv, row 3, column 'level': 1.5 is no spar"):
        read("mine", tmp_path)
