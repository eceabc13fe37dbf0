"""FLAP against the official code's numbers, its statistics and its choice of units."""

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import Sparsity, parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compression.search import read_result
from meltpoint.methods import _flap_selection, flap
from meltpoint.methods._units import Units
from meltpoint.model.activation_statistics import Statistics
from meltpoint.model.block_walk import Walk
from tests.support import structured_golden as golden
from tests.support.steps import weights
from tests.support.unit_chains import WINDOWS, Chains

ROWS = golden.rows_of("flap")


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    return Chains(tmp_path_factory.mktemp("flap"))


@pytest.mark.parametrize("step", ROWS)
def test_it_is_the_official_code(step, tmp_path):
    row = ROWS[step]
    folder = golden.checkpoint(step, tmp_path / "checkpoint")
    heads = golden.cut_of(folder, "self_attn.q_proj", 8)
    cut = {"heads": heads, "neurons": golden.cut_of(folder, "mlp.gate_proj")}
    assert golden.hash_of(cut) == row["cut_sha256"]
    assert golden.perplexity(folder) == pytest.approx(row["ppl"], rel=1e-4)
    assert Description.read(folder).shapes.parameters == golden.parameters_of(row)


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_statistics_are_those_of_all_tokens(batch):
    inputs = 5 + torch.randn(7, 11, 4, generator=torch.Generator().manual_seed(0))
    names = ("mean", "fluctuation", "fluctuation_aliased")
    statistics = Statistics(names, 4, len(inputs), inputs.device)
    for windows in inputs.split(batch):
        statistics.update(windows)
    tokens = inputs.flatten(0, 1)
    torch.testing.assert_close(statistics.mean, tokens.mean(0))
    torch.testing.assert_close(statistics.fluctuation, tokens.var(0, correction=0))
    published = torch.zeros(4)
    for n in range(2, len(inputs) + 1):
        mean = inputs[:n].mean(dim=(0, 1))
        distance = (inputs[n - 1] - mean).square().mean(0)
        published = published * (n - 2) / (n - 1) + distance / n
    torch.testing.assert_close(statistics.fluctuation_aliased, published)


def test_eight_levels_and_all_structures_share_a_search():
    method = methods.find("flap")
    steps = ("flap@0.1", "flap@0.7,metric=IFV", "flap@0.2,structure=UL-UM,expand_kv=true")
    assert {str(method.search_step(parse_step(step))) for step in steps} == {"flap"}
    official = method.search_step(parse_step("flap@0.1,official=true,half_mean=false"))
    assert str(official) == "flap,official=true"


def test_the_step_runs_no_block(chains, monkeypatch):
    chains.made("llama")
    passes, forward = [], Walk.forward

    def counted(walk, index, batch, *args, **kwargs):
        passes.append(batch.stop - batch.start)
        return forward(walk, index, batch, *args, **kwargs)

    monkeypatch.setattr(Walk, "forward", counted)
    chains.made("llama", "flap@0.35")
    assert sum(passes) == 4 * len(WINDOWS)


def test_the_bias_is_what_the_cut_columns_gave_on_average(chains):
    folder = chains.made("qwen2", "flap@0.4")
    found = read_result(folder.with_name(f"{folder.name}-search.npz"))
    before, after = weights(chains.made("qwen2")), weights(folder)
    for index in range(4):
        place = f"model.layers.{index}.mlp"
        weight, left = before[f"{place}.down_proj.weight"], after[f"{place}.gate_proj.weight"]
        kept = golden.kept_rows(before[f"{place}.gate_proj.weight"], left)
        cut = [j for j in range(weight.shape[1]) if j not in kept]
        mean = torch.from_numpy(found[f"{index}.mlp.mean"])
        torch.testing.assert_close(after[f"{place}.down_proj.bias"], weight[:, cut] @ mean[cut])


def search_of(heads, neurons):
    """A search of two blocks with these fluctuations of columns, of weights that are one."""
    found = {}
    for index in range(2):
        for kind, values in (("attention", heads[index]), ("mlp", neurons[index])):
            ones = np.ones(len(values), dtype=np.float32)
            keys = dict.fromkeys(("norm", "weight_square", "weight_mean"), ones)
            keys["fluctuation"] = np.array(values, dtype=np.float32)
            found |= {f"{index}.{kind}.{key}": array for key, array in keys.items()}
    return found


SEARCH = search_of([[1, 1, 9, 9], [2, 3, 4, 4]], [[1, 2, 3, 10], [5, 6, 7, 8]])
UNITS = [Units(2, 4, head_cost=20, neuron_cost=10, added=0, biases=0, group=1)] * 2


@pytest.mark.parametrize(
    ("settings", "level", "heads", "neurons"),
    [
        ({"structure": "UL-UM"}, 0.5, ["01", "01"], ["0011", "0011"]),
        ({"structure": "UL-MM", "remove_heads": 2}, 0.5, ["01", "01"], ["0011", "0011"]),
        ({"structure": "UL-MM", "remove_heads": 0}, 0.5, ["11", "11"], ["0000", "0000"]),
        ({"structure": "AL-MM", "remove_heads": 1}, 0.3, ["01", "11"], ["0111", "0111"]),
        # Standardised: heads at -0.87, -0.78 and above, neurons at -1.16, -0.73 and above.
        ({}, 0.2, ["01", "11"], ["1111", "0111"]),
        ({"strict_threshold": True}, 0.2, ["01", "01"], ["1111", "0111"]),
    ],
)
def test_structures(settings, level, heads, neurons):
    settings = flap.Settings(bias_compensation=False, **settings)
    kept = _flap_selection.select(SEARCH, UNITS, Sparsity(level), settings, (160, 160))
    spelled = [{k: "".join("01"[x] for x in mask) for k, mask in parts.items()} for parts in kept]
    assert [parts["attention"] for parts in spelled] == heads
    assert [parts["mlp"] for parts in spelled] == neurons


def test_more_heads_than_the_level_holds_do_not_apply(chains):
    assert chains.reason("llama", "flap@0.1,structure=AL-MM,remove_heads=6") == (
        "flap@0.1 cannot be reached with remove_heads=6: that is 3 of 8 units of attention, which hold "
        "18432 parameters of the 14746 to remove"
    )


@pytest.mark.parametrize("structure", ["AL-MM", "UL-MM", "UL-UM"])
@pytest.mark.parametrize("metric", ["WIFV", "IFV", "WIFN"])
def test_every_structure_and_metric_reaches_a_level(structure, metric, chains):
    step = f"flap@0.4,structure={structure},metric={metric}"
    assert 0.2 < chains.achieved("llama", step) < 0.45
    assert chains.achieved("llama", f"{step},of=parameters") == pytest.approx(0.4, abs=0.02)


def test_batches_do_not_matter(chains):
    found = [weights(chains.made("llama", "flap@0.5", batch=batch)) for batch in (1, 4)]
    for name, weight in found[0].items():
        torch.testing.assert_close(weight, found[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_a_layer_without_heads_keeps_its_bias(family, chains):
    """At nine tenths whole parts go; what is left is read again as it was."""
    description = Description.read(chains.made(family, "flap@0.9"))
    constants = [kind for block in description.shapes.blocks for kind in block.constants]
    assert constants
    assert chains.logits(family, "flap@0.9").isfinite().all()
    again = Description.read(chains.made(family, "flap@0.9+rtn@8bit")).shapes
    assert again.blocks == description.shapes.blocks
