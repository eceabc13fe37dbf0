"""BESA: the official layer's curves, the reach of its sparsities, exact blocks, its optimiser."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import linear as apply_linear

from meltpoint.chain import Sparsity
from meltpoint.checkpoints.description import Description
from meltpoint.errors import NotApplicable
from meltpoint.methods import besa
from meltpoint.methods._besa_counts import reachable, shift_to_total
from meltpoint.methods._besa_masks import MaskedWeight, Ranking, candidates
from meltpoint.model.activation_statistics import Statistics
from meltpoint.model.block_walk import Block
from tests.support.steps import run, weights
from tests.support.tiny_models import random_tokens, save_model

GOLDEN = Path(__file__).parents[3] / "shared/golden/unstructured"
with_golden = pytest.mark.skipif(
    not GOLDEN.exists(), reason="the official codes' numbers (shared/golden) are not here"
)


def one_linear(weight, inputs):
    """A block that is one linear, and its statistics; its dense outputs are its own."""
    linear = torch.nn.Linear(*reversed(weight.shape), bias=False).requires_grad_(False)
    linear.weight.copy_(weight)

    def forward(batch, weights=None):
        return apply_linear(inputs[batch], weights["linear"] if weights else linear.weight)

    block = Block(0, 1, linear, {"linear": linear}, inputs, forward)
    block.dense_outputs = forward(slice(None))
    statistics = Statistics(("norm",), inputs.shape[-1], len(inputs), inputs.device)
    statistics.update(inputs)
    return block, {"linear": statistics}


def random_linear(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(12, 40, generator=generator, dtype=dtype)
    inputs = torch.randn(3, 20, 40, generator=generator, dtype=dtype)
    return weight, inputs * torch.linspace(0.1, 3, 40, dtype=dtype)


@pytest.fixture(scope="module")
def golden():
    layer, curves = (np.load(GOLDEN / f"layer_golden{name}.npz") for name in ("", "_besa"))
    weight, inputs = (torch.from_numpy(layer[f"A|{name}"]).float() for name in "WX")
    return weight, inputs, {key: torch.from_numpy(curves[key]) for key in curves.files}


@with_golden
@pytest.mark.parametrize("fraction", [0.5, 0.6])
@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("group", ["row", "layer"])
def test_the_official_curves(golden, group, sigmoid, fraction):
    """18 steps, the last of which amplify what rounding did in the first ones."""
    weight, inputs, curves = golden
    prefix = f"{group}|{'sig' if sigmoid else 'nosig'}|s{fraction}|d5.0|"
    block, statistics = one_linear(weight, inputs)
    level = Sparsity(fraction)
    settings = besa.Settings(group=group, sigmoid=sigmoid, epochs=3, d_coef=5, exact=False)
    learner = besa.make_learner(block, statistics, settings)
    logits, ranking = learner.logits["linear"], learner.rankings["linear"]

    keep = ~ranking.removed(learner.counts("linear", learner.alphas()["linear"]))
    assert np.array_equal(np.packbits(keep), curves[prefix + "mask0"])
    found = {"loss": [], "alpha": [], "d": []}
    for index, batch in enumerate(besa.batches(len(inputs), settings)):
        found["alpha"].append(learner.sparsity(learner.alphas()).item())
        found["loss"].append(besa.learn_step(learner, block, batch, level, settings).item())
        found["d"].append(learner.optimiser.param_groups[0]["d"])
        if index == 0:
            official = curves[prefix + "grad0"].view_as(logits)
            difference = (logits.grad - official).abs().max()
            assert difference < 1e-6 * official.abs().max()
    for name, values in found.items():
        official = curves[prefix + name]
        values = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(values[:12], official[:12], rtol=5e-5, atol=0)
        torch.testing.assert_close(values, official, rtol=2e-3, atol=0)
    assert found["loss"][0] == pytest.approx(float(curves[prefix + "loss0"]), rel=1e-6)
    official = curves[prefix + "beta"].view_as(logits)
    assert (logits - official).abs().max() < 0.01 * official.abs().max()
    removed = ranking.removed(besa.final_counts(learner, level, settings)["linear"])
    differ = removed != (curves[prefix + "W"] == 0)
    assert differ.float().mean() <= 1e-3


def test_the_gradient_is_that_of_the_soft_probability():
    """Against the probabilities of all weights and candidates, written out."""
    generator = torch.Generator().manual_seed(0)
    weight, pull = torch.randn(2, 5, 23, generator=generator)
    weight[0, 3] = 0
    ranking = Ranking(weight, weight.abs(), candidates(0.1))
    for rows in (5, 1):
        logits = torch.randn(rows, 11, generator=generator, requires_grad=True)
        counts = torch.full((rows, 1), 7)
        fast = MaskedWeight.apply(logits.softmax(dim=1), counts, ranking)
        gone = (ranking.ranks[..., None] < ranking.cuts).float()
        soft = 1 - (logits.softmax(dim=1)[:, None] * gone).sum(dim=-1)
        (expected,) = torch.autograd.grad((weight * soft * pull).sum(), logits)
        (gradient,) = torch.autograd.grad((fast * pull).sum(), logits)
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
        assert torch.equal((fast == 0).sum(dim=1), torch.full((5,), 7))


def test_the_reach_of_the_sigmoid():
    """The softmax of logits between 0 and 1: from 0.3763 to 0.6237, and neither beyond nor less."""
    low, high = reachable(candidates(0.01))
    assert (low, high) == pytest.approx((0.3763, 0.6237), abs=5e-5)
    logits = torch.zeros(101, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=1)
    for _ in range(100):
        (gradient,) = torch.autograd.grad(-logits.sigmoid().softmax(0) @ candidates(0.01), logits)
        logits.grad = gradient
        optimiser.step()
    best = (logits.sigmoid().softmax(0) @ candidates(0.01)).item()
    assert high - 1e-3 < best < high + 1e-6


@pytest.mark.parametrize(("fraction", "step"), [(0.3, 0.01), (0.63, 0.01), (0.37, 0.05)])
def test_a_target_out_of_reach_is_refused_before_any_training(fraction, step):
    block, statistics = one_linear(*random_linear())
    block.forward = None
    low, high = reachable(candidates(step))
    reason = f"from {low:.4f} to {high:.4f} with its sigmoid, not {fraction:g}: set sigmoid=false"
    with pytest.raises(NotApplicable, match=reason):
        besa.compress_block(block, statistics, Sparsity(fraction), besa.Settings(step=step))


@pytest.mark.parametrize("fraction", [0.1, 0.8])
def test_without_the_sigmoid_any_target_is_reached(fraction):
    block, statistics = one_linear(*random_linear())
    settings = besa.Settings(group="row", sigmoid=False, epochs=40, exact=False)
    with torch.no_grad():
        besa.compress_block(block, statistics, Sparsity(fraction), settings)
    found = (block.linears["linear"].weight == 0).float().mean().item()
    assert found == pytest.approx(fraction, abs=0.1)


@pytest.mark.parametrize("group", ["row", "layer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_exact_blocks_that_learned_something(group, dtype):
    weight, inputs = random_linear()
    block, statistics = one_linear(weight, inputs)
    block.linears["linear"].to(dtype)
    block.hidden = inputs.to(dtype)
    inputs = block.hidden
    block.forward = lambda batch, weights=None: apply_linear(
        inputs[batch], weights["linear"] if weights else block.linears["linear"].weight
    )
    settings = besa.Settings(group=group, d_coef=5, epochs=8)
    with torch.no_grad():
        besa.compress_block(block, statistics, Sparsity(0.55), settings)
    removed = block.linears["linear"].weight == 0
    assert removed.sum() == int(0.55 * weight.numel())
    # Most rows of their own share; with one share for all, equal but for the last weights.
    assert (len(set(removed.sum(dim=1).tolist())) > 2) == (group == "row")
    metric = weight.to(dtype).abs() * statistics["linear"].norm.sqrt()
    kept_least = metric.masked_fill(removed, torch.inf).amin(dim=1)
    gone_most = metric.masked_fill(~removed, 0).amax(dim=1)
    assert (gone_most <= kept_least).all()


def test_a_shift_keeps_what_was_learned_between_rows():
    alphas = torch.tensor([0.2, 0.4, 0.5, 0.9], dtype=torch.float64)
    widths, zeros = torch.full((4,), 100), torch.tensor([0, 0, 70, 0])
    # Row 2 is sparser already than its share, and row 3 cannot lose more than all it has.
    assert shift_to_total(alphas, widths, zeros, 190).tolist() == [10, 30, 70, 80]
    assert shift_to_total(alphas, widths, 0 * zeros, 270).tolist() == [40, 60, 70, 100]
    assert shift_to_total(alphas, widths, 0 * zeros, 400).tolist() == [100] * 4
    assert shift_to_total(alphas, widths, zeros, 50).tolist() == [0, 0, 70, 0]


def test_the_largest_remainder_gets_the_weight_that_is_over():
    alphas = torch.tensor([0.501, 0.504], dtype=torch.float64)
    widths, zeros = torch.full((2,), 100), torch.zeros(2)
    assert shift_to_total(alphas, widths, zeros, 101).tolist() == [50, 51]


def test_earlier_zeros_go_first_and_count():
    weight, inputs = random_linear()
    inputs[..., :4] = 0
    weight[:, 20:32] = 0
    weight[5, :30] = 0
    block, statistics = one_linear(weight, inputs)
    with torch.no_grad():
        settings = besa.Settings(group="row", epochs=2)
        besa.compress_block(block, statistics, Sparsity(0.4), settings)
    removed = block.linears["linear"].weight == 0
    assert removed[weight == 0].all()
    assert removed.sum() == int(0.4 * weight.numel())
    # Inputs that are never there have a metric of zero too; they go after the zeros.
    assert removed[5].sum() == (weight[5] == 0).sum()


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("spelling", ["besa@0.6,group=row", "besa@0.45,d_coef=5"])
def test_whole_blocks(family, spelling, tmp_path):
    np.save(tmp_path / "windows.npy", random_tokens(6, 48).numpy())
    base = save_model(tmp_path / "base", family)
    target = run(base, tmp_path / "target", spelling, tmp_path / "windows.npy", batch=1)
    layers = Description.read(target).linears
    fraction = float(spelling[5:].split(",")[0])
    prefixes = {name.rpartition("layers.")[2][0] for name in layers}
    assert prefixes == {"0", "1"}
    for index in prefixes:
        block = {n: layer for n, layer in layers.items() if f"layers.{index}." in n}
        size = sum(layer.count for layer in block.values())
        assert sum(layer.zeros for layer in block.values()) / size == int(fraction * size) / size
    assert weights(target).keys() == weights(base).keys()
