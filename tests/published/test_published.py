"""Model phase transitions, rebuilt: the refits, the tables with their footnotes, the figures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from meltpoint.data.published import FOLDER
from meltpoint.data.published.frames import read
from meltpoint.errors import MeltpointError
from meltpoint.published.phase_transitions import (
    discrepancies,
    figures,
    figures_contour,
    frames,
    transitions,
)
from meltpoint.published.specs import read_study
from meltpoint.published.specs import study as spec_of
from meltpoint.published.tables import published_table
from meltpoint.study.config import load
from meltpoint.tables.markup import to_latex, to_markdown

ROOT = Path(__file__).parents[2]
SPEC = spec_of("phase_transitions")
FOOTNOTES = {name: texts.notes for name, texts in SPEC.tables.items()}


@pytest.fixture(scope="module")
def dense():
    return transitions.dense_curves(draws=100)


@pytest.fixture(scope="module")
def sparse(dense):
    return transitions.sparse_curves(dense, draws=100)


@pytest.fixture(scope="module")
def tables():
    return {name: published_table(texts) for name, texts in SPEC.tables.items()}


def cell(table, *keys):
    """A printed cell by its labels and its head."""
    *labels, head = keys
    row = next(entries for names, entries in table.rows if names == labels)
    return row[table.heads.index(head)]


def test_every_published_curve_has_one_row_with_an_interval(dense):
    stars = read("mpt_phase_points")
    joined = stars[["family", "method"]].drop_duplicates().merge(dense, validate="1:1")
    assert len(joined) == len(dense) == 16
    assert np.isfinite(dense[["s0_published", "s0", "s0_low", "s0_high"]]).all(axis=None)
    assert (dense["s0_low"] <= dense["s0"]).all()
    assert (dense["s0"] <= dense["s0_high"]).all()
    assert (dense["form"] != "").all()


def test_published_points_come_back_and_exceptions_are_explained(dense):
    near = (dense["s0"] - dense["s0_published"]).abs() <= 0.05
    assert near.sum() >= 12
    assert (dense["within"] == near).all()
    assert ((dense["note"] == "") == near).all()


def test_where_no_transition_is_supported_it_is_said(dense):
    smooth = dense[~dense["transition"]]
    assert 0 < len(smooth) < 16
    assert smooth["form"].str.startswith("smooth").all()
    assert smooth["warning"].str.startswith("no transition supported").all()
    assert smooth["s0_free"].isna().all()


def test_intervals_of_the_sparse_tables_cover_the_s0_of_all_points(dense, sparse):
    assert len(sparse) == 16
    assert sparse["covers"].mean() >= 0.8
    counts = transitions.agreement(dense, sparse)
    assert counts["sparser"] >= 8
    assert counts["sparser_covered"] / counts["sparser"] >= 0.8


def test_the_exceptions_are_explained_by_what_the_points_say(dense):
    notes = dense.set_index("method")["note"]
    assert "The published s0 = 0.65 is a round number" in notes["SparseGPT_owl"]
    assert "for which AICc finds too few points" in notes["ASVD"]


def test_a_held_s0_fits_no_better_than_a_free_one(dense):
    points = frames.figure_points()
    for row in dense[~dense["within"] & (dense["gamma"] > 0)].itertuples():
        own = discrepancies.points_of(points[points["method"] == row.method])
        assert discrepancies.miss_held_at(row.s0_published, own) > row.rmse_log
        assert discrepancies.miss_held_at(row.s0, own) == pytest.approx(row.rmse_log, rel=1e-3)


def test_numbers_of_the_tables_are_the_published_ones(tables):
    wanda = cell(tables["table02_unstructured"], "Wanda", "0.5")
    assert wanda.text == "6.3075"
    assert cell(tables["table02_unstructured"], "Magnitude", "0.8").text == "nan"
    assert cell(tables["table02_unstructured"], "BESA-row", "0.1").text == "-"
    gguf = cell(tables["table05_gguf"], "Qwen2.5-7B", "Q4_K_M", "perplexity")
    assert (gguf.text, gguf.error) == ("7.9982", "0.0533")
    assert cell(tables["table07_lowrank"], "0.30", "SVD-LLM, WikiText2").text == "14.33"
    assert cell(tables["table10_wanda_gguf"], "perplexity", "0.50", "Q2_K").text == "9.3014"


def test_best_and_second_are_marked(tables):
    first = tables["table01_structured"]
    assert cell(first, "slicegpt", "0.5").mark == "best"
    assert cell(first, "slicegpt w/o", "0.5").mark == "second"
    row = tables["table10_wanda_gguf"]
    assert cell(row, "perplexity", "0.00", "Q8_0").mark == "best"
    assert cell(row, "perplexity", "0.00", "FP16").mark == "second"
    assert not any(
        e.mark for names, entries in row.rows if names[0] != "perplexity" for e in entries
    )
    faster = tables["table05_gguf"]
    assert cell(faster, "Qwen2.5-7B", "IQ2_M", "tokens/s").mark == "best"


def test_every_published_cell_is_in_its_table(tables):
    counts = {name: len(table.cells) for name, table in tables.items()}
    assert counts["table01_structured"] == 46
    assert counts["table02_unstructured"] == 83
    assert counts["table03_unstructured_ptb"] == 48
    assert counts["table04_quantization"] == 14
    assert counts["table06_gguf_families"] == 2 * 43
    combined = [counts[name] for name in ("table08_asvd_rtn", "table09_sparsegpt_gptq")]
    assert combined == [72, 2 * 44]
    for table in tables.values():
        printed = sum(e.text != "-" for _, row in table.rows for e in row)
        assert printed == len(table.cells)


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, notes in FOOTNOTES.items() for key in notes]
)
def test_each_footnote_is_of_a_cell_that_exists(tables, name, key):
    table = tables[name]
    found = cell(table, *key)
    assert found.text != "-"
    assert FOOTNOTES[name][key] in [table.notes[letter] for letter in found.notes]


def test_footnotes_say_what_the_data_say():
    drawn = frames.figure_points().set_index(["method", "level"])["value"]
    printed = pd.concat([frames.by_level(2), frames.by_level(3).query("method == 'SparseGPT_owl'")])
    printed = printed.set_index(["method", "level"])["value"]
    both = pd.concat([drawn, printed], axis=1, keys=["drawn", "printed"]).dropna()
    differ = both[~np.isclose(both["drawn"], both["printed"])]
    doubted = [*FOOTNOTES["table02_unstructured"], *FOOTNOTES["table03_unstructured_ptb"]]
    assert set(differ.index) <= set(doubted)
    for value in drawn["SparseGPT_owl"][["0.5", "0.6", "0.7", "0.8"]]:
        assert f"{value:.4f}" in FOOTNOTES["table03_unstructured_ptb"]["SparseGPT_owl", "0.5"]


def test_each_format_says_the_same(tables):
    for table in tables.values():
        markdown, latex = to_markdown(table), to_latex(table)
        for note in table.notes.values():
            assert note in markdown
        assert latex.count(r"\textbf{") == markdown.count("**") / 2 > 0
        assert {"value", "mark", "note"} <= set(table.cells)


def test_every_figure_is_declared_and_drawn(dense):
    other = transitions.other_curves(draws=20)
    assert list(figures.DRAWINGS) == list(SPEC.figures)
    for name, draw in figures.DRAWINGS.items():
        figure = draw({"dense": dense, "other": other})
        assert isinstance(figure, Figure), name
        assert figure.axes[0].lines or figure.axes[0].collections


def test_phase_figures_show_both_transition_points(dense):
    figure = figures.DRAWINGS["phase_structured"]({"dense": dense})
    own = dense[dense["family"] == "structured"]
    stars = [line for line in figure.axes[1].lines if line.get_marker() == "*"]
    drawn = sorted(float(line.get_xdata()[0]) for line in stars)
    assert drawn == sorted([*own["s0"], *own["s0_published"]])


def test_the_trade_off_holds_the_best_cells():
    table = figures_contour.surface(10)
    front = table.front()
    sizes, ppl = ([values[place] for place in front] for values in (table.sizes, table.ppl))
    assert sizes == sorted(sizes)
    assert ppl == sorted(ppl, reverse=True)
    for place in np.ndindex(table.ppl.shape):
        cheaper = [p for p in front if table.sizes[p] <= table.sizes[place] + 1e-9]
        assert min(table.ppl[p] for p in cheaper) <= table.ppl[place]
    assert set(table.hull()) <= set(front)


@pytest.mark.parametrize("name", ["published", "models"])
def test_a_study_cannot_take_the_folder_of_others(name):
    with pytest.raises(MeltpointError, match=f"study: results/{name} holds"):
        load({"study": name, "models": {"m": {"path": "m"}}, "evaluations": {}}, "x.yaml")


def test_items_name_what_the_rules_make():
    files = {str(file) for item in SPEC.items() for file in item.files}
    made = {f"tables/{name}.csv" for name in SPEC.tables}
    made |= {f"figures/{name}.svg" for name in SPEC.figures}
    assert files == made | {f"{name}.csv" for name in SPEC.files}


def test_the_workflow_knows_the_target(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-n", "published", "--directory", str(tmp_path)]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--workflow-profile", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for rule in ("published_transitions", "published_tables", "published_figures"):
        assert rule in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("page:", "pages:", r"phase_transitions\.yaml: .*page"),
        ("{within_row}", "{within}", r"phase_transitions\.yaml: tables: no phrase .* 'within'"),
        (
            "better: lower",
            "better: least",
            r"tables\.table01_structured\.layout\.measures\.0\.better",
        ),
        ("phrases:", "phrases: [", r"phase_transitions\.yaml cannot be read as YAML"),
    ],
)
def test_wrong_texts_are_refused_by_file_and_key(tmp_path, old, new, message):
    text = (FOLDER / "phase_transitions.yaml").read_text()
    assert old in text
    (tmp_path / "phase_transitions.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(MeltpointError, match=message):
        read_study(tmp_path / "phase_transitions.yaml")
