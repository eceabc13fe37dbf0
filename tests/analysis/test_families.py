"""Families at equal compression: who belongs where, who is the best and the median, what ties."""

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis.families import at_compression, compare_families, with_families
from meltpoint.analysis.frame import stored
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Cell
from meltpoint.figures import families as figure
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.support import kept_cells

LOSSES = kept_cells.losses()
KINDS = {"rtn": "quantization", "gptq": "quantization", "int8": "quantization"}
KINDS |= {"svd": "low-rank", "flap": "structured"}
# Chains of the study, with what each of them has reached.
ZEROS = {"magnitude@0.5": 0.5, "wanda@0.5": 0.4983, "ria@0.5": 0.5, "sparsegpt@0.5": 0.5}
ZEROS |= {"sparsegpt@2of4": 0.5, "sparsegpt@0.6": 0.6}


def achieved(zeros: float = 0.0, parameters: float = 0.0, bits: float = 32.0) -> dict:
    return {"zeros": zeros, "parameters": parameters, "bits": bits}


ACHIEVED = {chain: achieved(zeros=zeros) for chain, zeros in ZEROS.items()}
ACHIEVED |= {"rtn@8bit": achieved(bits=8.1875), "gptq@4bit": achieved(bits=4.125)}
ACHIEVED |= {"int8": achieved(bits=8.11), "flap@0.3": achieved(parameters=0.506)}
ACHIEVED |= {
    "svd@0.5": achieved(parameters=0.4),
    "sparsegpt@0.5+gptq@4bit": achieved(0.5, 0, 4.125),
}


def losses_of(chain: str) -> np.ndarray:
    """Losses of a real cell, or of another one made worse for a chain that has none."""
    return LOSSES.get(chain, LOSSES["magnitude@0.5"] + 0.3)


def frame_of(folder, *chains: str) -> pd.DataFrame:
    """The tidy frame of cells that have reached what `ACHIEVED` says."""
    paths = []
    for chain in ["dense", *chains]:
        path = kept_cells.write(folder, chain, losses_of(chain), dense=LOSSES["dense"])
        cell = Cell.read(path)
        cell.model_copy(update={"achieved": ACHIEVED.get(chain, {})}).write(path)
        paths.append(path)
    frame = kept_cells.frame(*paths)
    kinds = frame["method"].map(KINDS).fillna("unstructured")
    return frame.assign(kind=kinds.mask(frame["chain"] == "dense", ""))


def prepared(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"name": frame["method"], "printed": frame["chain"]}
    return with_families(frame.assign(**names))


def test_bytes_count_a_mask_where_it_is_cheaper():
    facts = {"model": "m", "chain": "c", "evaluation": "e", "kind": "size", "main": "bytes"}
    facts |= {"status": "not_applicable", "reason": "-", "requested": {}}
    empty = {"protocol": {}, "provenance": {}}

    def bits(**reached) -> float | None:
        return stored(Cell(**facts, **empty, achieved=reached))

    assert bits(**achieved(zeros=0.5)) == 9
    assert bits(**achieved()) == 16
    assert bits(**achieved(parameters=0.5)) == 8
    assert bits(**achieved(zeros=0.5, bits=4.25)) == pytest.approx(3.125)
    assert bits(**achieved(zeros=0.1, bits=4.25)) == pytest.approx(4.25)
    assert bits(zeros=0.5) is None


def test_families_at_half(tmp_path):
    cells = prepared(frame_of(tmp_path, *ACHIEVED))
    chosen = at_compression(cells, "removed", 0.5)
    by_family = chosen.groupby("family")["chain"].apply(set).to_dict()
    assert by_family == {
        "quantization": {"rtn@8bit", "int8"},
        "unstructured": {"magnitude@0.5", "wanda@0.5", "ria@0.5", "sparsegpt@0.5"},
        "2:4": {"sparsegpt@2of4"},
        "structured": {"flap@0.3"},
    }
    assert list(chosen["value"]) == sorted(chosen["value"])


def test_four_bits_stand_at_seven_tenths(tmp_path):
    cells = prepared(frame_of(tmp_path, *ACHIEVED))
    assert list(at_compression(cells, "removed", 0.7)["chain"]) == ["gptq@4bit"]
    assert list(at_compression(cells, "bytes", 0.7)["chain"]) == ["gptq@4bit"]


def test_half_of_the_bytes_need_more_than_half_zeros(tmp_path):
    """0.6 zeros take 0.4 * 16 + 1 = 7.4 bits, 0.5 zeros 9."""
    cells = prepared(frame_of(tmp_path, *ACHIEVED))
    chosen = at_compression(cells, "bytes", 0.5)
    assert set(chosen["chain"]) == {"sparsegpt@0.6", "rtn@8bit", "int8", "flap@0.3"}


def test_the_best_and_the_median_are_compared(tmp_path):
    compared = compare_families(prepared(frame_of(tmp_path, *ACHIEVED)), [0.5])
    rows = compared[compared["equal"] == "removed"].set_index("family")
    assert list(rows.index)[-1] == "structured"
    pruned = rows.loc["unstructured"]
    assert (pruned["methods"], pruned["best"]) == (4, "sparsegpt@0.5")
    # Of sparsegpt, wanda, ria and magnitude the third: of two in the middle the worse one.
    assert pruned["median"] == "ria@0.5"
    assert "structured" in pruned["best_better_than"].split(", ")
    assert rows["best_first"].sum() == rows["median_first"].sum() == 1
    assert np.isnan(rows.loc[rows["best_first"], "best_p_holm"]).all()


def test_equal_families_tie(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "rtn@8bit", LOSSES["sparsegpt@0.5"])
    compared = compare_families(prepared(frame_of(tmp_path, "rtn@8bit", "sparsegpt@0.5")), [0.5])
    rows = compared[compared["equal"] == "removed"].set_index("family")
    assert rows.loc["quantization", "best_tied_with"] == "unstructured"
    assert rows.loc["unstructured", "best_tied_with"] == "quantization"


def spec(**keys) -> Table:
    return Table(**{"source": "x", "value": "ppl", "layout": "families", **keys})


def test_the_table_says_what_ties(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "rtn@8bit", LOSSES["sparsegpt@0.5"])
    chains = [chain for chain in ACHIEVED if chain != "int8"]
    table = tables.build(frame_of(tmp_path, *chains), spec(labels={"sparsegpt": "SparseGPT"}))
    rows = {tuple(labels): entries for labels, entries in table.rows}
    entries = rows["0.5 of the weights or bits", "unstructured"]
    assert entries[0].text == "SparseGPT at 0.5"
    assert entries[3].text == "ria at 0.5 (of 4)"
    assert entries[1].mark == "best"
    assert rows["0.5 of the weights or bits", "structured"][1].mark == ""
    assert ("0.7 of the bytes", "quantization") in rows
    printed = tables.to_markdown(table)
    assert "of two in the middle the worse one" in printed
    assert tables.to_csv(table).startswith("model,equal,compression,family,methods")


def test_a_compression_that_nothing_reaches_is_refused(tmp_path):
    frame = frame_of(tmp_path, "wanda@0.5", "rtn@8bit")
    with pytest.raises(MeltpointError, match=r"ppl of x: no method .* removes 0\.3 of the decoder"):
        tables.build(frame, spec(compressions=[0.3]))
    printed = tables.to_markdown(tables.build(frame, spec()))
    assert "no method removes 0.7 of the bytes" in printed


@pytest.mark.parametrize("equal", ["removed", "bytes"])
def test_the_figure_has_a_row_for_each_method(tmp_path, equal):
    keys = {"source": "x", "value": "ppl", "kind": "families", "equal": equal}
    frame = frame_of(tmp_path, *ACHIEVED)
    drawing = figure.draw(frame, None, figure.Spec(**keys))
    half, beyond = drawing.axes
    names = [label.get_text() for label in half.get_yticklabels()]
    expected = {"removed": {"rtn", "int8", "gptq", "magnitude", "wanda", "ria", "sparsegpt", "flap"},
                "bytes": {"rtn", "int8", "gptq", "sparsegpt", "flap"}}  # fmt: skip
    heads = [
        label.get_text() for label in half.get_yticklabels() if label.get_fontweight() == "bold"
    ]
    assert set(names) - set(heads) == expected[equal]
    patterns = ["2:4"] if equal == "removed" else []
    assert heads[::-1] == ["quantization", "unstructured", *patterns, "structured"]
    # From below: quantization is on top, its best method first.
    assert names[-1] == "quantization"
    assert names[-2] in ("rtn", "int8")
    points = [sum(len(c.get_offsets()) for c in ax.collections if len(c.get_offsets()) and
              hasattr(c, "get_sizes") and len(c.get_sizes())) for ax in (half, beyond)]  # fmt: skip
    assert points[1] == 1
    with pytest.raises(MeltpointError, match=r"ppl of x: no method that has a value removes 0\.9"):
        figure.draw(frame, None, figure.Spec(**keys, compressions=[0.9]))
