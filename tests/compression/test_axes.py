"""What is counted on each axis when steps change shapes: zeros, parameters and bits."""

import math

import pytest
import torch

from meltpoint.checkpoints.description import Description
from tests.support.shape_chains import CHAINS, FAMILIES, ONLY, STEPS, unique
from tests.support.steps import run, weights


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chain", CHAINS)
def test_achieved_is_a_count_by_hand(family, chain, made):
    folder, base = made(family, chain), made(family)
    description, tensors = Description.read(folder), weights(folder)
    inside = {n: t for n, t in tensors.items() if "layers." in n}
    dense = sum(t.numel() for n, t in weights(base).items() if "layers." in n)
    achieved = description.achieved
    assert achieved.parameters == pytest.approx(1 - sum(t.numel() for t in inside.values()) / dense)
    linears = {n: inside[f"{n}.weight"] for n in description.linears}
    matrices = {n for n, t in inside.items() if t.dim() == 2 and "shortcut" not in n}
    assert {f"{name}.weight" for name in linears} == matrices
    entries = sum(t.numel() for t in linears.values())
    zeros = sum(int((t == 0).sum()) for t in linears.values()) / entries
    assert achieved.zeros + description.rounded == pytest.approx(zeros)
    if chain.endswith("rtn@4bit"):
        scales = sum(len(t) * math.ceil(t.shape[1] / 128) * 20 for t in linears.values())
        assert achieved.bits == pytest.approx(4 + scales / entries)
        assert {linear.stored.bits for linear in description.linears.values()} == {4}
    elif chain.endswith("@0.5"):
        # Each of sparsegpt's matrices may miss it by one weight, wanda's by one a row.
        assert zeros == pytest.approx(0.5, abs=0.02)
    assert description.requested.keys() >= {"level"}
    assert achieved.parameters > 0.2


def test_a_total_holds_on_each_axis(made, place, tmp_path):
    """The level of an earlier step on another axis neither counts nor stands in the way."""
    chain = f"wanda@0.5+cut_shapes@0.2,{unique(f'{ONLY},neurons=true,even=true')}+wanda@0.6"
    description = Description.read(made("llama", chain))
    assert description.requested == {"zeros": 0.6, "level": 0.2}
    assert description.achieved.zeros == pytest.approx(0.6, abs=0.02)
    assert 0.05 < description.achieved.parameters < 0.2
    refused = run(made("llama", chain), tmp_path / "a", "wanda@0.3", place / "windows.npy")
    assert "sparse already, more than the 0.3" in Description.read(refused).reason
    twice = run(
        made("llama", STEPS["factor"]), tmp_path / "b", "factor_shapes@0.1,of=parameters", None
    )
    assert "of the dense decoder's parameters are gone already" in Description.read(twice).reason


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("before", ["", "factor_shapes@0.1", "cut_shapes@0.1"])
def test_a_level_of_the_dense_decoders_parameters_is_a_total(before, family, made):
    chain = "+".join(filter(None, (before, "factor_shapes@0.5,of=parameters")))
    description = Description.read(made(family, chain))
    assert description.requested == {"parameters": 0.5}
    assert description.achieved.parameters == pytest.approx(0.5, abs=0.03)


def test_zeros_stay_where_the_weight_stays(made):
    """A cut loses no zeros; a rotation has other weights, and fills none of the earlier ones."""
    cut = f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true,heads=true')}"
    parent, child = made("llama", "magnitude@0.5"), made("llama", f"magnitude@0.5+{cut}")
    description = Description.read(child)
    assert description.zeros_lost == 0
    assert description.achieved.zeros == pytest.approx(0.5, abs=0.05)
    before, after = weights(parent), weights(child)
    name = "model.layers.0.mlp.gate_proj.weight"
    rows = [
        next(i for i, row in enumerate(before[name]) if torch.equal(row, x)) for x in after[name]
    ]
    assert rows == sorted(rows)
    assert len(rows) < len(before[name])
    assert Description.read(made("llama", "magnitude@0.5+cut_shapes@0.3")).zeros_lost == 0


@pytest.mark.parametrize("columns", [False, True])
def test_a_grid_holds_where_whole_groups_are_left(columns, made):
    """Rows take their grids with them; a row that loses columns has other groups."""
    cut = f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true')}"
    description = Description.read(made("llama", f"rtn@4bit+{cut}"))
    name = f"model.layers.0.mlp.{'down' if columns else 'gate'}_proj"
    stored = description.linears[name].stored
    # 128 columns are one group here: a whole row's.
    assert stored is not None
    grouped = Description.read(made("llama", f"rtn@4bit,group_size=32+{cut}")).linears[name].stored
    assert (grouped is None) == columns
