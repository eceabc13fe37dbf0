"""H-GSP: the goldens, what it keeps beside the checkpoint, padding, other texts, and chains."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compression.search import read_result
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.methods import _hgsp_gradients, _hgsp_losses, _hgsp_selection, hgsp
from meltpoint.methods.contract import Context
from meltpoint.model.load import load
from tests.support import structured_golden as golden
from tests.support.block_chains import CPU, BlockPasses, deep_model, logits_of, run_chain
from tests.support.tiny_models import random_tokens, save_model

WINDOWS = random_tokens(10, 24)


@pytest.mark.parametrize(("step", "row"), golden.rows_of("hgsp").items())
def test_it_is_the_reference(step, row, tmp_path):
    folder = golden.checkpoint(step, tmp_path / "checkpoint")
    assert golden.perplexity(folder) == pytest.approx(row["ppl"], rel=1e-4)
    assert Description.read(folder).shapes.parameters == golden.parameters_of(row)
    heads, neurons = (
        golden.cut_of(folder, name, unit)
        for name, unit in (("self_attn.k_proj", 8), ("mlp.up_proj", 1))
    )
    cut = {
        str(block): {"attention": units, "mlp": channels}
        for block, (units, channels) in enumerate(zip(heads, neurons, strict=True))
    }
    assert golden.hash_of(cut) == row["cut_sha256"]
    found = read_result(tmp_path / "checkpoint-search.npz")
    measured = {"taylor": (), "layerwise": ("layer",)}.get(
        row["variant"], ("layer", "attention", "mlp")
    )
    assert {key for key in found if key.startswith("difference.")} == {
        f"difference.{part}" for part in measured
    }
    for part in measured:
        expected = row[f"delta_{'attn' if part == 'attention' else part}"]
        assert found[f"difference.{part}"] == pytest.approx(expected, rel=1e-5)
    diagnosis = json.loads((folder / "analysis/gradient_diagnosis.json").read_text())
    fields = diagnosis["gradient_statistics"]
    for key in ("mean", "norm"):
        low, high = fields[f"{key}_range"]
        assert fields[f"{key}_ratio"] == pytest.approx(row[f"grad_{key}_ratio"], rel=1e-5)
        assert high - low == pytest.approx(row[f"grad_{key}_range"], rel=1e-5)
    assert diagnosis["num_extreme_layers"] == row["extreme_pruning_layers"]
    compared = json.loads((folder / "analysis/pruning_comparison.json").read_text())
    assert compared["total_params"]["pruned"] == row["params"]
    kept = [layer["attention"]["num_kv_heads"]["pruned"] for layer in compared["layers"]]
    assert kept == row["kept_kv"]


def search_of(base, windows=WINDOWS, settings=(), **context):
    compute = Compute(device="cpu", batch=3)
    return hgsp.search(base, hgsp.Settings(**dict(settings)), Context(windows, compute, **context))


def test_what_is_noted_after_each_batch_is_of_the_sum_so_far(tmp_path):
    base = save_model(tmp_path / "base", "qwen2")
    found = search_of(base)
    model, total, expected = load(base, torch.float32, CPU), 0, []
    weight = model.model.layers[1].post_attention_layernorm.weight.requires_grad_()
    for batch in WINDOWS.split(4):
        logits = model(batch).logits[:, :-1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        total = total + torch.autograd.grad(loss, weight)[0]
        g = total.abs()
        expected.append([g.mean(), g.std(), g.norm(), g.max(), g.min()])
    row = found["gradient_parameters"].index([1, "post_attention_layernorm.weight"])
    torch.testing.assert_close(
        found["gradients"][row], torch.tensor(expected), rtol=1e-4, atol=1e-8
    )
    # Seven weights, three biases and two norms of two blocks, three batches.
    assert found["gradients"].shape == (24, 3, 5)


def test_norms_of_half_precision_do_not_overflow():
    sums = _hgsp_gradients.BatchSum(torch.zeros(4, 4, dtype=torch.float16), 1)
    sums.update(torch.full((4, 4), 6e4))
    assert sums.noted[0][2] == pytest.approx(2.4e5)


def test_padding_counts_unless_it_is_masked(tmp_path):
    base, lengths = save_model(tmp_path / "base", "llama"), torch.full((10,), 12)
    counted, padded = (
        search_of(base, windows, {"prior": "blockwise"}, lengths=lengths)
        for windows in (WINDOWS, WINDOWS.index_fill(1, torch.arange(12, 24), 1))
    )
    masked, cut = (
        search_of(base, windows, {"prior": "blockwise", "pad": "mask"}, lengths=lengths)
        for windows in (WINDOWS, WINDOWS[:, :12])
    )
    for key in ("importance.0.mlp", "importance.1.attention", "gradients"):
        assert not torch.allclose(counted[key], padded[key], rtol=1e-3)
        torch.testing.assert_close(masked[key], cut[key], rtol=1e-4, atol=1e-7)
    assert masked["loss"] == pytest.approx(cut["loss"], rel=1e-6)
    assert masked["difference.mlp"] == pytest.approx(cut["difference.mlp"], abs=1e-6)


def test_losses_of_another_text(tmp_path):
    base, other = save_model(tmp_path / "base", "llama"), random_tokens(4, 16, seed=5)
    chosen = {"prior": "layerwise", "loss_split": "test"}
    found = search_of(base, WINDOWS, chosen, validation=other)
    assert found["loss"] == pytest.approx(model_loss(load(base, torch.float32, CPU), other[:2]))
    with pytest.raises(MeltpointError, match=r"calibrations\.test: .*: 1 are too few"):
        search_of(base, WINDOWS, chosen, validation=other[:1])
    with pytest.raises(MeltpointError, match=r"a fifth of 4 windows.*set prior=taylor"):
        search_of(base, WINDOWS[:4], {"prior": "layerwise"})


@pytest.mark.parametrize("prior", ["layerwise", "blockwise"])
def test_a_search_that_starts_from_that_of_taylor_finds_the_same(prior, tmp_path):
    base = save_model(tmp_path / "base", "llama")
    alone = search_of(base, settings={"prior": prior})
    shared = search_of(base, settings={"prior": prior}, search=search_of(base))
    assert shared.keys() == alone.keys()
    for key, value in alone.items():
        assert torch.equal(shared[key], value) if torch.is_tensor(value) else shared[key] == value


@pytest.mark.parametrize(
    ("step", "earlier"),
    [
        ("hgsp@0.3,prior=layerwise,samples=8", "hgsp,samples=8"),
        ("hgsp@0.3,prior=blockwise,tau=0.5,loss_split=test,length=16", "hgsp,length=16"),
        ("hgsp@0.3,samples=8", None),
    ],
)
def test_priors_share_the_search_of_taylor(step, earlier):
    found = methods.find("hgsp").earlier_search(parse_step(step))
    assert (found and str(found)) == earlier


def model_loss(model, windows):
    with torch.no_grad():
        logits = model(windows, use_cache=False).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).item()


@pytest.mark.parametrize("ablation", ["norm", "zero"])
@pytest.mark.parametrize("family", ["llama", "opt", "gemma2"])
def test_a_part_that_is_left_out_returns_its_input_or_zeros(family, ablation, tmp_path):
    base = save_model(tmp_path / "base", family)
    found = search_of(base, WINDOWS, {"prior": "blockwise", "ablation": ablation})
    model = load(base, torch.float32, CPU)
    body = getattr(model.base_model, "decoder", model.base_model)
    block, windows = body.layers[1], WINDOWS[:2]
    whole = model_loss(model, windows)
    assert found["loss"] == pytest.approx(whole, rel=1e-5)
    factor = float(ablation == "norm")
    handle = block.self_attn.register_forward_hook(
        lambda module, args, kwargs, output: (factor * kwargs["hidden_states"], None),
        with_kwargs=True,
    )
    without = model_loss(model, windows)
    handle.remove()
    assert found["difference.attention"][1] == pytest.approx(without - whole, abs=2e-5)
    if family == "opt":
        handle = block.fc2.register_forward_hook(lambda module, args, output: factor * normed["x"])
        normed = {}
        block.fc1.register_forward_hook(
            lambda module, args, output: normed.__setitem__("x", args[0])
        )
    else:
        handle = block.mlp.register_forward_hook(lambda module, args, output: factor * args[0])
    without = model_loss(model, windows)
    handle.remove()
    assert found["difference.mlp"][1] == pytest.approx(without - whole, abs=2e-5)
    del body.layers[1]
    model.config.num_hidden_layers = 1
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:1]
    expected = model_loss(model, windows) - whole
    assert found["difference.layer"][1] == pytest.approx(expected, abs=2e-5)


def test_losses_share_prefixes(tmp_path, monkeypatch):
    """0.3 passes of a fifth of the windows per block and more: fewer than 0.4 L passes."""
    base, windows = deep_model(tmp_path), random_tokens(20, 12)
    counter, weights = BlockPasses(monkeypatch, 20), torch.full((4, 11), 1 / 44)
    compute = Compute(device="cpu")
    _hgsp_losses.differences(base, windows[:4], weights, compute, ("attention", "mlp"), "norm")
    assert counter.count / 8 <= 0.4 * 8


def factors(layer, attention=(), mlp=(), tau=0.0, temperature=1):
    found = {"difference.layer": layer, "difference.attention": attention, "difference.mlp": mlp}
    return _hgsp_selection.factors(found, tau, temperature, blockwise=bool(attention))


def test_factors_of_the_priors():
    assert factors([1.0, 0.5]).tolist() == [[np.log(2)] * 2, [np.log(1.5)] * 2]
    own = factors([1.0, -0.5], (2.0, 3.0), (0.1, 4.0), temperature=2)
    assert own == pytest.approx(np.log1p([[2.0, 0.1], [-0.5, -0.5]]) ** 2)
    quartile = factors([1.0, 2.0, 3.0, 4.0], (9.0,) * 4, (None, 8.0, 8.0, 8.0), tau="quartile")
    assert quartile == pytest.approx(np.log1p([[1, 1], [9, 8], [9, 8], [9, 8]]))


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"layer": [1.0, -1.5]}, "cannot weigh the attention of block 1: .*changes by -1.5"),
        ({"layer": [1.0, float("nan")]}, "not finite; set prior=taylor"),
        ({"layer": [1.0, -0.5], "temperature": 0.5}, "needs a whole temperature, not 0.5"),
    ],
)
def test_factors_that_are_not_defined(chosen, reason):
    with pytest.raises(NotApplicable, match=reason):
        factors(**chosen)


# Half of the parameters of a group of heads, of those of a tiny model of four blocks.
HALF_GROUP = 0.022


@pytest.mark.parametrize("family", ["llama", "qwen2", "opt", "qwen3"])
@pytest.mark.parametrize("level", [0.3, 0.8])
def test_a_level_of_the_decoders_parameters(family, level, tmp_path):
    base = deep_model(tmp_path, family, 4)
    folder = run_chain(base, f"hgsp@{level},of=parameters")
    description = Description.read(folder)
    assert description.achieved.parameters == pytest.approx(level, abs=HALF_GROUP)
    second = f"hgsp@{level / 2},of=parameters+hgsp@{level},of=parameters"
    again = Description.read(run_chain(base, second))
    assert again.achieved.parameters == pytest.approx(level, abs=HALF_GROUP)
    # Biases, and norms of blocks that lose all, are counted before they go.
    found = read_result(folder.with_name(f"{folder.name}-search.npz"))
    units = _hgsp_selection.table(found, np.ones((4, 2)))
    rows = (folder / "analysis/global_group_table.csv").read_text().splitlines()
    number = sum(row.endswith(",1") for row in rows)
    gone = _hgsp_selection._parameters(units, units.order, found["blocks"])
    assert gone[:number].sum() == description.dense_parameters - description.shapes.parameters


def test_a_block_without_attention_and_mlp_is_an_identity(tmp_path):
    folder = run_chain(deep_model(tmp_path), "hgsp@0.8+wanda@0.5+rtn@4bit")
    compared = json.loads(
        (tmp_path / "llama-8+hgsp@0.8/analysis/pruning_comparison.json").read_text()
    )
    empty = [layer["layer_idx"] for layer in compared["layers"] if layer["is_zero_layer"]]
    shapes = Description.read(folder).shapes.blocks
    assert empty == [index for index, shape in enumerate(shapes) if not shape.parameters]
    assert empty
    assert logits_of(folder).isfinite().all()
    # What belongs to the first step is not in the later ones' checkpoints.
    assert not (folder / "analysis").exists()


@pytest.mark.parametrize("other", ["wanda@0.3", "sparsegpt@0.3", "rtn@8bit", "hgsp@0.2"])
def test_chains(other, tmp_path):
    for chain in (f"hgsp@0.3,prior=blockwise+{other}", f"{other}+hgsp@0.3,prior=layerwise"):
        folder = run_chain(deep_model(tmp_path), chain)
        assert Description.read(folder).status == "ok"
        assert logits_of(folder).isfinite().all()


def test_repeated_keys_and_values_compute_the_same_before_the_cut(tmp_path):
    base = deep_model(tmp_path)
    folder = run_chain(base, "hgsp@0.01,expand_kv=true")
    compared = json.loads((folder / "analysis/pruning_comparison.json").read_text())
    heads = [layer["attention"]["num_kv_heads"]["original"] for layer in compared["layers"]]
    assert heads == [4] * 8
    close = (logits_of(folder) - logits_of(base)).norm() / logits_of(base).norm()
    assert close < 0.1


def test_all_is_too_much(tmp_path):
    found = Description.read(run_chain(deep_model(tmp_path), "hgsp@0.999"))
    assert found.reason == "hgsp@0.999 removes 1040 of 1040 heads and neurons"
