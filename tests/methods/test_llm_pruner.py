"""LLM-Pruner against the official code's numbers, its scores and its choice of units."""

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compression.search import read_result
from meltpoint.errors import MeltpointError
from meltpoint.methods import llm_pruner
from meltpoint.methods._llm_pruner_scores import unit_scores
from meltpoint.methods._units import Units
from tests.support import steps
from tests.support import structured_golden as golden
from tests.support.unit_chains import WINDOWS, Chains

ROWS = golden.rows_of("llm_pruner")


def prune_out_channels(folder, expanded):
    """The cut channels of q, k and gate as the official code's log has them."""
    queries, keys = "self_attn.q_proj", "self_attn.k_proj"
    cut = {place: golden.cut_of(folder, place) for place in (queries, "mlp.gate_proj")}
    # The expanded keys are rows that the dense model's have once.
    cut[keys] = cut[queries] if expanded else golden.cut_of(folder, keys)
    return {
        f"model.layers.{index}.{place}:prune_out_channels": channels
        for place, blocks in cut.items()
        for index, channels in enumerate(blocks)
        if channels
    }


@pytest.mark.parametrize("step", ROWS)
def test_it_is_the_official_code(step, tmp_path):
    row = ROWS[step]
    folder = golden.checkpoint(step, tmp_path / "checkpoint")
    cut = prune_out_channels(folder, "expand_kv" in step)
    assert golden.hash_of(cut) == row["cut_sha256"]
    assert golden.perplexity(folder) == pytest.approx(row["ppl"], rel=1e-4)
    if "expand_kv" not in step:
        assert Description.read(folder).shapes.parameters == golden.parameters_of(row)


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    return Chains(tmp_path_factory.mktemp("llm-pruner"))


def searched(chains, step, family="llama"):
    """What the search of a step found."""
    folder = chains.made(family, step)
    return read_result(folder.with_name(f"{folder.name}-search.npz"))


def gradients_of(model, path):
    """Each window's gradient of its mean loss with respect to a weight, [windows, rows, columns]."""
    weight = model.get_parameter(path).requires_grad_()
    found = []
    for window in WINDOWS:
        logits = model(window[None], use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, window[1:])
        found.append(torch.autograd.grad(loss, weight)[0])
    return weight.detach(), torch.stack(found)


IMPORTANCE = {
    "param_first": lambda w, g: (w * g.mean(0)).abs(),
    "param_second": lambda w, g: (w * g.square().mean(0) * w).abs(),
    "param_mix": lambda w, g: (w * g.mean(0) - w * g.square().mean(0) * w / 2).abs(),
    "vectorize": lambda w, g: w * g.mean(0),
    "l1": lambda w, g: w.abs(),
    "l2": lambda w, g: w**2,
}


@pytest.mark.parametrize("importance", IMPORTANCE)
@pytest.mark.parametrize(
    ("family", "linear", "member", "dimension"),
    [
        ("llama", "model.layers.1.self_attn.k_proj", "1.attention.keys", 1),
        ("qwen2", "model.layers.2.mlp.down_proj", "2.mlp.output", 0),
        ("opt", "model.decoder.layers.0.self_attn.out_proj", "0.attention.output", 0),
    ],
)
def test_scores_are_those_of_the_whole_models_gradients(
    importance, family, linear, member, dimension, chains
):
    found = searched(chains, f"llm_pruner@0.5,importance={importance}", family)[member]
    weight, gradients = gradients_of(chains.model(family), f"{linear}.weight")
    expected = IMPORTANCE[importance](weight, gradients).sum(dimension).abs()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-7)


def test_repeated_keys_are_scored_by_gradients_of_their_own(chains):
    """Those of the model whose heads were expanded before."""
    ours = searched(chains, "llm_pruner@0.5,expand_kv=true")
    expanded = searched(chains, "magnitude_sp@0.3,expand_kv=true+llm_pruner@0.5")
    assert len(ours["1.attention.keys"]) == 64
    assert len(expanded["1.attention.keys"]) == 48
    grouped = searched(chains, "llm_pruner@0.5")
    for member in ("1.attention.queries", "1.mlp.0"):
        assert ours[member] == pytest.approx(grouped[member], rel=1e-3)


def search_of(**members):
    return {f"0.attention.{name}": np.array(x, dtype=np.float32) for name, x in members.items()}


def test_query_heads_count_for_the_key_head_that_serves_them():
    """Four query heads and two key heads, two channels wide."""
    search = search_of(
        queries=[1, 2, 10, 20, 100, 200, 1000, 2000], keys=[0, 0, 0.5, 0], values=[0] * 4
    )
    units = Units(2, 0, 1, 1, 0, 0, group=2, head_width=2)
    own = unit_scores(search, 0, units, "param_first", fold_across_heads=False)
    folded = unit_scores(search, 0, units, "param_first", fold_across_heads=True)
    assert own["attention"].tolist() == [33, 3300.5]
    assert folded["attention"].tolist() == [303, 3030.5]
    mean = unit_scores(search, 0, units, "l1", fold_across_heads=False)
    assert mean["attention"].tolist() == pytest.approx([11, 3300.5 / 3])


def heads_and_neurons(chains, step):
    shapes = Description.read(chains.made("llama", step)).shapes
    return [(block.kv_heads, block.intermediate) for block in shapes.blocks]


def test_whole_heads_go_where_their_channels_are_too_many(chains):
    """Of 2 heads of width 16 and 128 neurons; at 0.4 twelve channels are too many, no head."""
    assert heads_and_neurons(chains, "llm_pruner@0.4") == [(2, 76)] * 4
    assert heads_and_neurons(chains, "llm_pruner@0.5") == [(1, 64)] * 4
    assert heads_and_neurons(chains, "llm_pruner@0.4,layers=1-3") == [
        *[(2, 128), (2, 76), (2, 76), (2, 128)]
    ]
    # A layer keeps a head and a neuron.
    assert heads_and_neurons(chains, "llm_pruner@0.999") == [(1, 1)] * 4


def test_all_layers_alike_are_an_ordinary_folder(chains):
    for step, irregular in (("llm_pruner@0.5", False), ("llm_pruner@0.5,layers=1-3", True)):
        shapes = Description.read(chains.made("llama", step)).shapes
        assert bool(shapes.irregular) == irregular


@pytest.mark.parametrize("importance", ["param_first", "l2"])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_later_steps_score_what_is_left(importance, scope, chains, monkeypatch):
    """They reach the same level, each with new scores of the smaller model."""
    seen, search = [], llm_pruner.search

    def noted(source, settings, context):
        found = search(source, settings, context)
        seen.append([len(found[f"{index}.mlp.output"]) for index in range(4)])
        return found

    monkeypatch.setattr(llm_pruner, "search", noted)
    step = f"llm_pruner@0.6,importance={importance},scope={scope}"
    once = heads_and_neurons(chains, step)
    seen.clear()
    monkeypatch.setattr(steps, "SEARCHES", {})
    chains.made("llama", f"{step},steps=3")
    assert len(seen) == 3
    assert sum(seen[0]) > sum(seen[1]) > sum(seen[2])
    if scope == "local":
        assert seen == [[128] * 4, [102] * 4, [76] * 4]
        assert heads_and_neurons(chains, f"{step},steps=3") == once
    assert not list(chains.folder.glob("*.rounds"))


def test_global_counts_heads_and_neurons_alike(chains):
    parts = heads_and_neurons(chains, "llm_pruner@0.5,scope=global")
    assert sum(heads + neurons for heads, neurons in parts) == 4 * 130 // 2


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("more", ["", ",steps=2", ",layers=1-4", ",expand_kv=true"])
def test_of_parameters(scope, more, chains):
    step = f"llm_pruner@0.4,of=parameters,scope={scope}{more}"
    assert chains.achieved("llama", step) == pytest.approx(0.4, abs=0.02)
    reason = chains.reason("llama", step.replace("0.4", "0.9,layers=0-2").replace(more, ""))
    assert "cannot remove 0.9 of the dense decoder's parameters: the nearest" in reason


@pytest.mark.parametrize("family", ["llama", "qwen2", "opt"])
@pytest.mark.parametrize("other", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit", "flap@0.3"])
def test_chains_before_and_after(other, family, chains):
    step = "llm_pruner@0.5"
    for chain in (f"{step}+{other}", f"{other}+{step}", f"{other}+{step},steps=2"):
        description = Description.read(chains.made(family, chain))
        assert description.zeros_lost == 0
        assert description.achieved.parameters > 0.4
        assert chains.logits(family, chain).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("layers=9-3", "llm_pruner: setting layers: 9-3 is no range of layers: write the first"),
        ("layers=4", "llm_pruner: setting layers: 4 is no range of layers"),
        ("structure=channelwise,layers=1-3", "layers=1-3: the channels of structure=channelwise"),
        ("importance=first", "setting importance: "),
        ("steps=0", "setting steps: "),
    ],
)
def test_bad_settings_are_refused(settings, sentence, chains):
    with pytest.raises(MeltpointError, match=sentence):
        chains.made("llama", f"llm_pruner@0.5,{settings}")


def test_what_cannot_be_done_does_not_apply(chains):
    assert chains.reason("llama", "llm_pruner@0.5,layers=2-9") == (
        "llm_pruner: layers=2-9 goes beyond the model, which has 4 layers"
    )
    for more in ("", ",steps=2", ",scope=global"):
        assert chains.reason("llama", f"llm_pruner@0.0001,of=parameters{more}") == (
            "llm_pruner@0.0001 removes none of 520 heads and neurons"
        )


def test_levels_and_layers_share_a_search():
    method = methods.find("llm_pruner")
    steps = ("llm_pruner@0.1", "llm_pruner@0.7,layers=1-4,official=true,steps=2")
    assert {str(method.search_step(parse_step(step))) for step in steps} == {"llm_pruner"}
    assert [method.calibrated(parse_step(step)) for step in steps] == [False, True]
    canonical = method.canonical(parse_step("llm_pruner@0.1,importance=l1,samples=8"))
    assert str(canonical) == "llm_pruner@0.1,importance=l1"
