"""Gradients block by block are those of the whole model, as torch's autograd gives them."""

import tempfile

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.model import backward_walk, empty_model, token_losses
from meltpoint.model.backward_walk import walk_backwards
from meltpoint.model.gradient_statistics import GRADIENT_ACCUMULATORS, GradientAccumulator
from meltpoint.model.load import load
from meltpoint.model.surgery import expand_kv
from tests.support.steps import run
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")
# Tied embeddings and biases (qwen2), projections beside the embeddings (opt), softcapping (gemma2),
# blocks that return tuples (bloom).
FAMILIES = ("llama", "qwen2", "opt", "gemma2", "bloom")
TOLERANCES = {"float64": 1e-9, "float32": 1e-5}


class BatchesOfFour(GradientAccumulator):
    """The sum over batches of four windows of the gradient of a batch's mean loss, as published."""

    def __init__(self, weight, windows):
        super().__init__(weight, windows)
        self.seen, self.norms = 0, []

    def update(self, gradient):
        self.value += gradient / 4
        self.seen += 1
        if self.seen % 4 == 0:
            self.norms.append(self.value.norm().item())


def walk(base, windows, names=tuple(GRADIENT_ACCUMULATORS), dtype="float32", batch=2, **options):
    """The values of the accumulators by the linears' names in the model, and the losses."""
    compute = Compute(device="cpu", dtype=dtype, batch=batch)
    reader = Reader(base, compute.torch_dtype, CPU)
    kinds = {**GRADIENT_ACCUMULATORS, "four": BatchesOfFour}
    chosen = {name: kinds[name] for name in names}
    blocks, order = {}, []
    for block in walk_backwards(reader, windows, compute, chosen, **options):
        order.append(block.index)
        for name, statistics in block.gradients.items():
            blocks[block.index, name] = statistics
    assert order == sorted(order, reverse=True)
    return blocks, block.losses


def test_a_large_vocabulary_passes_the_head_in_parts(tmp_path, monkeypatch):
    """On an accelerator; here the CPU is taken for one."""
    base, windows, seen = save_model(tmp_path, "llama"), random_tokens(5, 16), []
    expected = walk(base, windows, batch=4)
    function = token_losses._losses_together
    monkeypatch.setattr(token_losses, "MOST_LOGITS", {"cpu": 3 * 96 * 16})
    monkeypatch.setattr(
        token_losses, "_losses_together", lambda *a: seen.append(len(a[2])) or function(*a)
    )
    found = walk(base, windows, batch=4)
    assert seen == [3, 1, 1]
    assert torch.allclose(found[1], expected[1])
    for key, statistics in expected[0].items():
        assert torch.allclose(found[0][key].gradient, statistics.gradient, atol=1e-6)


def whole(base, windows, dtype, vectors=False, token_weights=None):
    """Each window's gradients, by block and linear, of the whole model under autograd."""
    model = load(base, getattr(torch, dtype), CPU)
    _, blocks = empty_model.decoder_blocks(model)
    weights = {
        (i, name): linear.weight.requires_grad_()
        for i, block in enumerate(blocks)
        for name, linear in empty_model.linears(block).items()
    }
    for i, block in enumerate(blocks) if vectors else ():
        named = block.named_parameters()
        weights |= {(i, name): p.requires_grad_() for name, p in named if p.dim() == 1}
    gradients, losses = {key: [] for key in weights}, []
    for index, window in enumerate(windows):
        logits = model(window[None], use_cache=False).logits[0, :-1]
        loss = nn.functional.cross_entropy(logits, window[1:], reduction="none")
        loss = loss.mean() if token_weights is None else (loss * token_weights[index]).sum()
        for key, value in zip(weights, torch.autograd.grad(loss, weights.values()), strict=True):
            gradients[key].append(value)
        losses.append(loss.item())
    return {key: torch.stack(values) for key, values in gradients.items()}, losses


def close(one, other, tolerance):
    """Whether two tensors are equal, relative to the largest entry."""
    return (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_whole_model(family, dtype, tmp_path, monkeypatch):
    base, windows = save_model(tmp_path / "base", family), random_tokens(5, 24)
    if dtype == "float64":
        # Norms and attention round to float32 on their way: here nothing does.
        load(base, torch.float64, CPU).save_pretrained(base)
        monkeypatch.setattr(torch, "float32", torch.float64)
        monkeypatch.setattr(torch, "float", torch.float64)
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    ours, losses = walk(base, windows, dtype=dtype)
    expected, expected_losses = whole(base, windows, dtype)
    assert ours.keys() == expected.keys()
    assert losses.tolist() == pytest.approx(expected_losses, rel=1e-5)
    for key, gradients in expected.items():
        assert gradients.abs().max() > 0
        assert close(ours[key].gradient, gradients.mean(0), TOLERANCES[dtype]), key
        assert close(ours[key].gradient_square, gradients.square().mean(0), TOLERANCES[dtype]), key


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_gradients_pass_blocks_that_change_the_width_of_the_stream(family, tmp_path):
    base, windows = save_model(tmp_path / "base", family), random_tokens(5, 24)
    np.save(tmp_path / "windows.npy", random_tokens(6, 32).numpy())
    sliced = run(base, tmp_path / "sliced", "slicegpt@0.3", tmp_path / "windows.npy")
    ours, _ = walk(sliced, windows)
    expected, _ = whole(sliced, windows, "float32")
    assert ours.keys() == expected.keys()
    for key, gradients in expected.items():
        assert close(ours[key].gradient, gradients.mean(0), 1e-5), key


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3"])
def test_gradients_of_biases_and_norms(family, tmp_path):
    base, windows = save_model(tmp_path / "base", family), random_tokens(5, 24)
    ours, _ = walk(base, windows, vectors=True)
    expected, _ = whole(base, windows, "float32", vectors=True)
    assert ours.keys() == expected.keys()
    largest = max(gradients.abs().max() for gradients in expected.values())
    for key, gradients in expected.items():
        # A bias of the keys adds the same to all of a token's scores: its gradient is rounding.
        allowed = 1e-4 * gradients.mean(0).abs().max() + 1e-7 * largest
        assert (ours[key].gradient - gradients.mean(0)).abs().max() <= allowed, key


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_tokens_count_in_the_loss(dtype, tmp_path):
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(5, 24)
    token_weights = torch.rand(5, 23, generator=torch.Generator().manual_seed(0)) / 23
    token_weights[:, 12:] = 0
    token_weights[3] = 0
    ours, losses = walk(base, windows, dtype=dtype, token_weights=token_weights)
    expected, expected_losses = whole(base, windows, "float32", token_weights=token_weights)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    assert losses.tolist() == pytest.approx(expected_losses, rel=tolerance)
    for key, gradients in expected.items():
        difference = ours[key].gradient - gradients.mean(0)
        assert difference.norm() <= tolerance * gradients.mean(0).norm(), key


def test_a_block_may_change_into_one_that_computes_the_same(tmp_path):
    """The gradients of repeated keys are summed where one key served several queries."""
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(5, 24)
    ours, _ = walk(base, windows, prepare=expand_kv)
    expected, _ = walk(base, windows)
    for key, statistics in expected.items():
        gradient = ours[key].gradient
        if key[1].endswith(("k_proj", "v_proj")):
            gradient = gradient.unflatten(0, (2, 2, -1)).sum(1).flatten(0, 1)
        assert close(gradient, statistics.gradient, 1e-4), key


def test_the_softcapping_of_logits_counts(tmp_path):
    """At a cap that the tiny model's logits reach; and the test above would notice if it did not."""
    windows = random_tokens(2, 12)
    capped, free = (
        walk(save_model(tmp_path / str(cap), "gemma2", final_logit_softcapping=cap), windows)[0]
        for cap in (0.05, None)
    )
    key = next(iter(capped))
    assert not close(capped[key].gradient, free[key].gradient, 0.1)


def test_batches_change_nothing_beyond_rounding(tmp_path):
    base, windows = save_model(tmp_path / "base", "qwen2"), random_tokens(5, 24)
    one, five = (walk(base, windows, batch=batch)[0] for batch in (1, 5))
    assert all(close(one[key].gradient_square, five[key].gradient_square, 1e-5) for key in one)


def test_one_accumulator_alone_has_the_same_value(tmp_path):
    """It adds each product to its sum without making it first."""
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(3, 12)
    both, _ = walk(base, windows)
    alone, _ = walk(base, windows, names=("gradient",))
    assert all(close(alone[key].gradient, both[key].gradient, 1e-6) for key in both)


def test_borders_that_do_not_fit_go_to_temporary_files(tmp_path, monkeypatch):
    """`compute.memory` is a kilobyte: the files are there while the walk goes on, and are gone then."""
    base, windows = save_model(tmp_path / "model", "llama"), random_tokens(4, 12)
    reader = Reader(base, torch.float32, torch.device("cpu"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    compute = Compute(device="cpu", memory=1e-6)
    walking = walk_backwards(reader, windows, compute, GRADIENT_ACCUMULATORS)
    next(walking)
    assert list(tmp_path.glob("meltpoint-*/border-*.safetensors"))
    for _ in walking:
        pass
    assert not list(tmp_path.glob("meltpoint-*"))


def test_temporary_files_that_do_not_fit_are_one_sentence(tmp_path, monkeypatch):
    """The error is a stand-in for that of a full disk, as safetensors spells it."""

    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(backward_walk, "save_file", full)
    reader = Reader(save_model(tmp_path / "base", "llama"), torch.float32, torch.device("cpu"))
    compute = Compute(device="cpu", memory=1e-6)
    sentence = r"meltpoint-\S+: the disk is full.*it takes [\d.]+ [kM]B: set TMPDIR to a folder"
    with pytest.raises(MeltpointError, match=sentence):
        list(walk_backwards(reader, random_tokens(2, 8), compute, {}))


def test_borders_in_files_give_the_same_and_are_gone(tmp_path):
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(3, 12)
    (tmp_path / "borders").mkdir()
    held, _ = walk(base, windows)
    filed, _ = walk(base, windows, folder=tmp_path / "borders")
    assert all(torch.equal(held[key].gradient, filed[key].gradient) for key in held)
    assert not list((tmp_path / "borders").iterdir())


def test_a_method_s_own_accumulator_sees_window_after_window(tmp_path):
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(8, 12)
    compute = Compute(device="cpu", batch=3)
    expected, _ = whole(base, windows, "float32")
    reader = Reader(base, torch.float32, CPU)
    for block in walk_backwards(reader, windows, compute, {"four": BatchesOfFour}):
        for name, gradients in block.gradients.items():
            first, second = expected[block.index, name].split(4)
            total = first.mean(0) + second.mean(0)
            assert close(gradients.four, total, 1e-5)
            norms = block.accumulators[name]["four"].norms
            assert norms == pytest.approx(
                [first.mean(0).norm().item(), total.norm().item()], rel=1e-4
            )


def test_the_block_is_loaded_and_nothing_else_stays(tmp_path):
    base, windows = save_model(tmp_path / "base", "qwen2"), random_tokens(2, 12)
    reader = Reader(base, torch.float32, CPU)
    walking = walk_backwards(reader, windows, Compute(device="cpu"), GRADIENT_ACCUMULATORS)
    for block in walking:
        assert all(linear.weight.device == CPU for linear in block.linears.values())
        model = walking.gi_frame.f_locals["walk"].model
        name, _ = empty_model.decoder_blocks(model)
        loaded = {n for n, p in model.named_parameters() if p.device == CPU}
        assert loaded
        assert all(n.startswith(f"{name}.{block.index}.") for n in loaded)
    assert not [n for n, p in model.named_parameters() if p.device == CPU]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_loses_no_small_gradient(dtype, tmp_path):
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(4, 48)
    half, _ = walk(base, windows, dtype=dtype)
    full, _ = walk(base, windows)
    for key, statistics in half.items():
        assert statistics.gradient.dtype == torch.float32
        expected = full[key].gradient
        assert (statistics.gradient - expected).norm() < 0.05 * expected.norm(), key


def test_a_statistic_that_was_not_named_and_gradients_that_overflow_are_one_sentence(tmp_path):
    base, windows = save_model(tmp_path / "base", "llama"), random_tokens(2, 12)
    blocks, _ = walk(base, windows, names=("gradient",))
    with pytest.raises(AttributeError, match="gradient_square was not collected"):
        _ = next(iter(blocks.values())).gradient_square

    class Overflowing(GradientAccumulator):
        def update(self, gradient):
            self.value += float("inf")

    reader = Reader(base, torch.float32, CPU)
    walking = walk_backwards(reader, windows, Compute(device="cpu"), {"all": Overflowing})
    with pytest.raises(
        MeltpointError, match=r"gradients of block 1 are not finite.*compute\.dtype"
    ):
        next(walking)
