"""Tables of comparisons: pairs, equivalence with dense, and what ties with the best of a column."""

import numpy as np
import pytest
from pydantic import ValidationError

from meltpoint.analysis.rows import average_over
from meltpoint.errors import MeltpointError
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.support import kept_cells

LOSSES = kept_cells.losses()
AT_HALF = ["sparsegpt@0.5", "wanda@0.5", "ria@0.5"]
CALIBRATION = {"samples": 64, "length": 256, "corpus": "docs", "sampling": "stream", "seed": 0}


def spec(**changes):
    return Table(**{"source": "x", "value": "ppl", "layout": "pairs", "level": 0.5, **changes})


def frame(folder, *chains, **changes):
    paths = [kept_cells.write(folder, chain, LOSSES[chain], **changes) for chain in chains]
    return kept_cells.frame(*paths)


def rows(table):
    return {tuple(labels): [entry.text for entry in entries] for labels, entries in table.rows}


def test_pairs_say_which_is_better(tmp_path):
    table = tables.build(frame(tmp_path, "dense", *AT_HALF, "sparsegpt@0.7"), spec())
    assert table.labels == ["method", "against"]
    verdicts = {labels: texts[-1] for labels, texts in rows(table).items()}
    assert verdicts == {
        ("sparsegpt", "wanda"): "better",
        ("sparsegpt", "ria"): "better",
        ("wanda", "ria"): "not told apart",
    }
    printed = tables.to_markdown(table)
    assert "cannot be told apart: wanda and ria  \n" in printed
    assert "standard error over 176 windows only; the draw of the calibration is no" in printed
    assert "corrected for the table's 3 comparisons" in printed
    assert "p_holm" in tables.to_csv(table).splitlines()[0]
    assert r"\textless{}0.001" in tables.to_latex(table)


def test_pairs_are_ordered_and_named_as_the_study_says(tmp_path):
    labels = {"wanda": "Wanda"}
    table = tables.build(frame(tmp_path, *AT_HALF), spec(labels=labels, order=["ria", "Wanda"]))
    assert list(rows(table)) == [("ria", "Wanda"), ("ria", "sparsegpt"), ("Wanda", "sparsegpt")]


def test_pairs_that_all_differ_are_said(tmp_path):
    table = tables.build(frame(tmp_path, "sparsegpt@0.5", "wanda@0.5"), spec())
    assert "every two are told apart" in tables.to_markdown(table)


def test_all_chains_are_paired_without_a_level(tmp_path):
    table = tables.build(frame(tmp_path, "rtn@4bit", "gptq@4bit", "int8"), spec(level=None))
    assert ("rtn at 4-bit", "int8") in rows(table)
    assert len(table.rows) == 3


def test_heavy_tails_are_said(tmp_path):
    table = tables.build(frame(tmp_path, "sparsegpt@0.5", "admm@0.5"), spec())
    assert list(table.notes.values()) == [
        "tested by sign flips, because the excess kurtosis of the windows' differences is above 3"
    ]


def test_calibrations_that_differ_are_a_footnote(tmp_path):
    other = CALIBRATION | {"samples": 128}
    paths = [
        kept_cells.write(tmp_path, "wanda@0.5", LOSSES["wanda@0.5"], calibration=CALIBRATION),
        kept_cells.write(tmp_path, "ria@0.5", LOSSES["ria@0.5"], calibration=other),
        kept_cells.write(tmp_path, "magnitude@0.5", LOSSES["magnitude@0.5"]),
    ]
    table = tables.build(kept_cells.frame(*paths), spec())
    notes = list(table.notes.values())
    assert len(notes) == 1
    assert "64 windows" in notes[0]
    assert "128 windows" in notes[0]


def test_seeds_are_draws_of_one_method(tmp_path):
    rng = np.random.default_rng(0)
    paths = [
        kept_cells.write(tmp_path, f"wanda@0.5,seed={seed}", LOSSES["wanda@0.5"] + shift)
        for seed, shift in enumerate(rng.normal(0, 0.01, 4))
    ]
    paths.append(kept_cells.write(tmp_path, "ria@0.5", LOSSES["ria@0.5"]))
    table = tables.build(kept_cells.frame(*paths), spec())
    assert list(rows(table)) == [("wanda", "ria")]
    pair = table.cells.iloc[0]
    assert (pair["draws"], pair["test"]) == (4, "two-way")
    assert pair["stderr"] == pytest.approx(np.hypot(pair["stderr_windows"], pair["stderr_draws"]))
    assert pair["stderr_draws"] > pair["stderr_windows"] / 3
    assert "over 176 windows and 4 draws of the calibration" in tables.to_markdown(table)


def test_what_cannot_be_paired_is_listed(tmp_path):
    cells = frame(tmp_path, *AT_HALF)
    failed = cells.iloc[0].to_dict() | {"method": "besa", "chain": "besa@0.5", "sample": None}
    failed |= {"status": "not_applicable", "reason": "no"}
    cells.loc[len(cells)] = failed
    assert "left out: besa (no)" in tables.to_markdown(tables.build(cells, spec()))


def test_a_single_method_makes_no_pair(tmp_path):
    with pytest.raises(
        MeltpointError, match=r"ppl of x: a pair needs two chains .* there is wanda"
    ):
        tables.build(frame(tmp_path, "wanda@0.5"), spec())


def test_cells_of_two_engines_are_refused(tmp_path):
    first = kept_cells.write(tmp_path, "wanda@0.5", LOSSES["wanda@0.5"])
    second = kept_cells.write(tmp_path, "ria@0.5", LOSSES["ria@0.5"], engine="llama.cpp")
    pattern = (
        "demo/wanda@0.5/ppl and demo/ria@0.5/ppl .* 'engine' is 'transformers' and 'llama.cpp'"
    )
    with pytest.raises(MeltpointError, match=pattern):
        tables.build(kept_cells.frame(first, second), spec())


def test_too_few_windows_are_refused(tmp_path):
    paths = [kept_cells.write(tmp_path, chain, LOSSES[chain][:4]) for chain in AT_HALF]
    with pytest.raises(MeltpointError, match="4 windows are too few for a paired test"):
        tables.build(kept_cells.frame(*paths), spec())


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"level": 124}, "YAML reads an unquoted 2:4"),
        ({"equivalence": "0%", "layout": "values"}, "a margin lies above 0 %"),
        ({"equivalence": 0.5, "layout": "values"}, "write the margin in per cent"),
        ({"equivalence": "0.5%"}, "a table of pairs has none"),
        ({"layout": "values"}, "only tables with `layout: pairs` or `equivalence`"),
        ({"published": "mpt_unstructured_ppl"}, "published numbers have no windows"),
    ],
)
def test_keys_that_make_no_comparison(keys, sentence):
    with pytest.raises(ValidationError, match=sentence):
        spec(**keys)


# --- equivalence -----------------------------------------------------------------------------------


def equivalence(margin="0.5%", **changes):
    return spec(layout="values", level=None, equivalence=margin, **changes)


def test_lossless_is_tested(tmp_path):
    cells = frame(tmp_path, "dense", "int8", "gptq@4bit", "awq@4bit", "wanda@0.5")
    table = tables.build(cells, equivalence())
    verdicts = {labels[0]: texts[4] for labels, texts in rows(table).items()}
    assert verdicts == {
        "int8": "yes",
        "gptq at 4-bit": "yes",
        "awq at 4-bit": "not shown",
        "wanda at 0.5": "no",
    }
    found = table.cells.set_index("chain")
    ratio = np.exp(LOSSES["awq@4bit"].mean() - LOSSES["dense"].mean())
    assert found.loc["awq@4bit", "difference"] == pytest.approx(ratio - 1, rel=1e-4)
    assert found.loc["awq@4bit", "windows_needed"] > 176
    assert "none" in rows(table)["wanda at 0.5",]


def test_the_error_of_a_relative_loss_is_that_of_the_log(tmp_path):
    """The delta method of a ratio of perplexities: its error is the ratio times that of the losses."""
    found = tables.build(frame(tmp_path, "dense", "wanda@0.5"), equivalence()).cells.iloc[0]
    losses = LOSSES["wanda@0.5"] - LOSSES["dense"]
    expected = np.exp(losses.mean()) * losses.std(ddof=1) / np.sqrt(len(losses))
    assert found["stderr"] == pytest.approx(expected, rel=1e-3)


def test_equivalence_needs_dense(tmp_path):
    paths = [kept_cells.write(tmp_path, "dense", np.full(176, np.inf))]
    paths.append(kept_cells.write(tmp_path, "wanda@0.5", LOSSES["wanda@0.5"]))
    with pytest.raises(MeltpointError, match="equivalence needs values of dense"):
        tables.build(kept_cells.frame(*paths), equivalence())


# --- ties in tables of values ----------------------------------------------------------------------


def marks(table, column=-1):
    return {labels[0]: (row[column].mark, row[column].tied) for labels, row in table.rows}


def test_what_ties_with_the_best_is_bold_too(tmp_path):
    cells = frame(tmp_path, "dense", "magnitude@0.5", "wanda@0.5", "ria@0.5")
    values = Table(source="x", value="ppl")
    assert marks(tables.build(cells, values)) == {
        "magnitude": ("", False),
        "wanda": ("best", False),
        "ria": ("best", True),
    }
    printed = tables.to_markdown(tables.build(cells, values))
    assert "**71.49** ≈" in printed
    assert "cannot be told apart from it (≈" in printed
    assert r"\textbf{71.49} $\approx$" in tables.to_latex(tables.build(cells, values))
    unmarked = tables.build(cells, Table(source="x", value="ppl", mark_best=False))
    assert set(marks(unmarked).values()) == {("", False)}
    assert not unmarked.remarks


def test_cells_of_another_engine_do_not_tie(tmp_path):
    first = kept_cells.write(tmp_path, "wanda@0.5", LOSSES["wanda@0.5"])
    second = kept_cells.write(tmp_path, "ria@0.5", LOSSES["ria@0.5"], engine="llama.cpp")
    table = tables.build(kept_cells.frame(first, second), Table(source="x", value="ppl"))
    assert marks(table) == {"wanda": ("best", False), "ria": ("", False)}


def test_draws_that_are_averaged_share_a_sample(tmp_path):
    paths = [
        kept_cells.write(tmp_path, f"wanda@0.5,seed={seed}", LOSSES["wanda@0.5"] + 0.001 * seed)
        for seed in range(3)
    ]
    averaged = average_over(kept_cells.frame(*paths), "seed")
    assert averaged["sample"].iloc[0].draws == ("0", "1", "2")
