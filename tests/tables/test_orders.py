"""Tables of the order effect: which chains are paired, what is said of them, and of weaker steps."""

import re

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis.sequences import order_pairs
from meltpoint.analysis.step_orders import weaker_first
from meltpoint.errors import MeltpointError
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from tests.support import kept_cells

DENSE = kept_cells.losses()["dense"]
NOISE = np.random.default_rng(0).normal(scale=0.01, size=len(DENSE))
SPEC = Table(source="x", value="ppl", layout="orders")
# By how much a chain raises the loss of each window. The weaker step, rtn, first is better.
RAISED = {
    "rtn@4bit": 0.01,
    "wanda@0.5": 0.1,
    "sparsegpt@0.5": 0.05,
    "rtn@4bit+wanda@0.5": 0.12,
    "wanda@0.5+rtn@4bit": 0.2,
    "sparsegpt@0.5+rtn@4bit": 0.07,
    "rtn@4bit+sparsegpt@0.5": 0.07,
}


@pytest.fixture
def frame(tmp_path):
    def make(chains=RAISED, **achieved):
        paths = [kept_cells.write(tmp_path, "dense", DENSE)]
        for place, (chain, more) in enumerate(chains.items()):
            losses = DENSE + more + np.roll(NOISE, place)
            size = achieved.get(chain)
            paths.append(kept_cells.write(tmp_path, chain, losses, dense=DENSE, achieved=size))
        return kept_cells.frame(*paths)

    return make


@pytest.mark.parametrize(
    ("chains", "pairs"),
    [
        (["wanda@0.5+rtn@4bit", "rtn@4bit+wanda@0.5"], 1),
        (["wanda@0.5+rtn@4bit", "rtn@3bit+wanda@0.5"], 0),
        (["wanda@0.5+rtn@4bit", "wanda@0.5"], 0),
        (["wanda@0.5+rtn@4bit+lora", "wanda@0.5+lora+rtn@4bit", "lora+rtn@4bit+wanda@0.5"], 1),
        (["lora,steps=9+rtn@4bit", "rtn@4bit+lora,steps=9"], 1),
    ],
)
def test_chains_that_differ_by_a_swap_of_neighbours_are_pairs(chains, pairs):
    assert len(order_pairs(chains)) == pairs


def test_a_row_says_which_order_is_better_and_which_step_is_weaker(frame):
    table = tables.build(frame(), SPEC)
    assert table.labels == ["first order", "second order"]
    rows = {tuple(labels): [entry.text for entry in entries] for labels, entries in table.rows}
    told = rows["rtn 4-bit → wanda 0.5", "wanda 0.5 → rtn 4-bit"]
    assert float(told[0]) > 0
    assert told[2:] == ["<0.001", "first", "first", "equal"]
    even = rows["sparsegpt 0.5 → rtn 4-bit", "rtn 4-bit → sparsegpt 0.5"]
    assert even[3:] == ["not told apart", "second", "equal"]
    printed = tables.to_markdown(table)
    assert "corrected for the table's 2 pairs" in printed
    assert (
        "of the pairs that are told apart in 1 of 1 pairs (100 %, 95 % interval 21 to 100 %)"
        in printed
    )
    assert "p_holm" in tables.to_csv(table).splitlines()[0]


def test_sizes_that_differ_are_a_footnote(frame):
    sizes = {
        "rtn@4bit+wanda@0.5": {"parameters": 0.0, "zeros": 0.5, "bits": 4.25},
        "wanda@0.5+rtn@4bit": {"parameters": 0.0, "zeros": 0.5, "bits": 32.0},
    }
    table = tables.build(frame(**sizes), SPEC)
    assert list(table.notes.values()) == ["bits 4.25 and 32"]
    printed = tables.to_markdown(table)
    assert re.search(r"of the pairs that end with one size in [01] of 1 pairs", printed)
    assert "with one size" not in tables.to_markdown(tables.build(frame(), SPEC))


def test_an_order_without_a_value_says_why(frame):
    cells = frame()
    failed = cells["chain"] == "wanda@0.5+rtn@4bit"
    cells.loc[failed, ["status", "reason", "sample"]] = ["not_applicable", "no kernel", None]
    table = tables.build(cells, SPEC)
    assert next(entries[0].text for _, entries in table.rows) == "N/A"
    assert list(table.notes.values()) == ["no kernel"]
    printed = tables.to_markdown(table)
    assert f"over {len(DENSE)} windows" in printed
    assert "corrected for the table's 1 pairs" in printed


def test_a_source_without_two_orders_is_refused(frame):
    with pytest.raises(MeltpointError, match="no two chains are orders of the same steps"):
        tables.build(frame({"rtn@4bit": 0.01, "wanda@0.5": 0.1}), SPEC)


def test_the_share_has_wilsons_interval():
    rows = [(-0.5, "second"), (-0.1, "second"), (0.3, "second"), (0.2, "first")]
    table = pd.DataFrame(rows, columns=["difference", "weaker"])
    found = weaker_first(table.assign(status="ok", better_order="first"))
    assert (found["better"], found["pairs"], found["share"]) == (3, 4, 0.75)
    assert found["low"] == pytest.approx(0.3006, abs=1e-3)
    assert found["high"] == pytest.approx(0.9544, abs=1e-3)


@pytest.mark.parametrize(("lower", "better"), [(True, 1), (False, 2)])
def test_the_weaker_step_first_is_better_by_the_scores_own_direction(lower, better):
    rows = [(-0.1, "second"), (0.2, "second"), (-0.3, "first"), (0.0, "first")]
    table = pd.DataFrame(rows, columns=["difference", "weaker"])
    found = weaker_first(table.assign(status="ok", better_order="first"), lower=lower)
    assert (found["better"], found["pairs"]) == (better, 4)
