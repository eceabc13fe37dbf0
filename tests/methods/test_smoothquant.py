"""SmoothQuant: what it scales, its int8 weights and activations, and what it cannot do."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import compressed
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.methods import _llmcompressor, smoothquant
from meltpoint.methods.contract import Context
from meltpoint.model.empty_model import attention_of

pytest.importorskip("llmcompressor", reason="llm-compressor is not installed")

from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import compute_dynamic_scales_and_zp

from tests.methods.test_awq import (
    NORMS,
    hashes,
    linear_weights,
    logits,
    made,
    others_changed,
    ours,
    perplexity,
    place,
    run,
    trained,
    windows,
)
from tests.support.compressed_tensors import DTYPES, config, stored

__all__ = ["made", "place", "trained", "windows"]
TOKENS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
STEP = "smoothquant@w8a8"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_are_what_the_library_reads_back(symmetric, dtype):
    weights = {"num_bits": 8, "type": "int", "symmetric": symmetric, "strategy": "channel"}
    parts, given, expected = stored("int-quantized", weights, dtype)
    assert parts["weight"].dtype == torch.int8
    assert torch.equal(compressed.decode(parts, given), expected.float())
    scale_bits = torch.finfo(dtype).bits
    assert compressed.grid(parts, given) == Quantized(8, -1, symmetric, scale_bits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_are_rounded_as_by_the_library(dtype):
    """Tokens of zeros, of one outlier and of one sign among them; none sees its neighbours."""
    x = torch.randn(3, 50, 100, generator=torch.Generator().manual_seed(0))
    x[0, 0], x[1, 1, 7], x[2] = 0, 300, x[2].abs()
    x = x.to(dtype)
    args = QuantizationArgs(**TOKENS)
    scale, zero = compute_dynamic_scales_and_zp(x, args, None)
    expected = fake_quantize(x, scale, zero, args)
    inputs = compressed.inputs(config(activations=TOKENS, form="int-quantized"))
    assert torch.equal(inputs(x), expected)
    assert inputs(x).dtype == dtype
    assert torch.equal(inputs(x.flatten(0, 1)), expected.flatten(0, 1))
    assert torch.equal(inputs(x[1:2, 1:2]), expected[1:2, 1:2])
    assert not torch.equal(expected, x)


def test_weights_alone_leave_activations_as_they_are():
    assert compressed.inputs(config()) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dynamic": False}, "static 8 bit int activations per token"),
        ({"strategy": "tensor"}, "dynamic 8 bit int activations per tensor"),
        ({"type": "float"}, "dynamic 8 bit float activations"),
        ({"num_bits": 4}, "dynamic 4 bit int activations"),
        ({"symmetric": False}, "cannot be computed"),
    ],
)
def test_activations_that_cannot_be_computed_are_named(change, reason):
    with pytest.raises(MeltpointError, match=reason):
        compressed.inputs(config(activations={**TOKENS, **change}))


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "bloom", "gemma2", "gemma3"])
def test_it_computes_what_transformers_does(family, made):
    target = made(family, STEP)
    attention = attention_of(target)
    theirs = AutoModelForCausalLM.from_pretrained(target, attn_implementation=attention).eval()
    assert torch.equal(logits(ours(target)), logits(theirs))
    unpacked = linear_weights(theirs)
    assert all(torch.equal(w, unpacked[n]) for n, w in linear_weights(ours(target)).items())
    assert not torch.equal(logits(theirs), logits(ours(made(family, "dense"))))


def test_in_half_precision(made):
    target = made("llama", STEP, dtype="bfloat16")
    theirs = AutoModelForCausalLM.from_pretrained(target).eval()
    assert torch.equal(logits(ours(target, torch.bfloat16)), logits(theirs))
    kinds = {t.dtype for t in load_file(target / "model.safetensors").values()}
    assert kinds == {torch.bfloat16, torch.int8}


def test_every_linear_is_int8_and_of_the_others_only_norms_change(made):
    dense, target = made("llama", "dense"), made("llama", STEP)
    layers = Description.read(target).linears
    assert set(layers) == set(linear_weights(ours(dense)))
    assert {layer.stored for layer in layers.values()} == {Quantized(8, -1, True, 32)}
    assert others_changed(dense, target) == NORMS
    bloom = others_changed(made("bloom", "dense"), made("bloom", STEP))
    assert bloom == NORMS | {n.replace("weight", "bias") for n in NORMS}


def test_the_scales_are_the_formula(made, windows, tmp_path):
    """The first norm's weight is divided by what the embeddings' range and the weights' say."""
    target = run(made("llama", "dense"), tmp_path / "a", f"{STEP},smoothing_strength=0.8", windows)
    dense = ours(made("llama", "dense"))
    block, after = dense.model.layers[0], ours(target).model.layers[0]
    with torch.no_grad():
        tokens = torch.from_numpy(np.load(windows)).long()
        x = block.input_layernorm(dense.model.embed_tokens(tokens)).flatten(0, 1)
    reached = x.amax(0) - x.amin(0)
    attention = block.self_attn
    rows = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    scale = reached**0.8 / (2 * rows.abs().amax(0)) ** 0.2
    ratio = block.input_layernorm.weight / after.input_layernorm.weight
    torch.testing.assert_close(ratio, scale, rtol=1e-5, atol=0)


def test_zeros_of_a_pruned_model_stay(made):
    parent, child = made("llama", "magnitude@2of4"), made("llama", STEP, "magnitude@2of4")
    after = linear_weights(ours(child))
    zeros = {name: weight == 0 for name, weight in linear_weights(ours(parent)).items()}
    assert all((after[name][zero] == 0).all() for name, zero in zeros.items())
    assert not Description.read(child).zeros_lost
    assert Description.read(child).achieved.zeros == Description.read(parent).achieved.zeros


def test_same_job_spec_same_bytes(made, windows, tmp_path):
    again = run(made("llama", "dense"), tmp_path / "again", STEP, windows)
    assert hashes(again) == hashes(made("llama", STEP))


def test_the_config_is_what_vllm_reads(made):
    target = made("qwen2", STEP)
    quantization = json.loads((target / "config.json").read_text())["quantization_config"]
    assert quantization["format"] == "int-quantized"
    assert quantization["ignore"] == ["lm_head"]
    group = quantization["config_groups"]["group_0"]
    assert TOKENS.items() <= group["input_activations"].items()
    stored = load_file(target / "model.safetensors")
    assert stored["model.layers.0.mlp.up_proj.weight"].dtype == torch.int8
    assert stored["model.layers.0.mlp.up_proj.weight_scale"].shape == (512, 1)


def test_what_it_does_not_know_is_not_applicable(made, windows, tmp_path, monkeypatch):
    monkeypatch.delitem(_llmcompressor.READ_FROM_NORMS, "OPTForCausalLM")
    target = run(made("opt", "dense"), tmp_path / "opt", STEP, windows)
    assert [f.name for f in target.iterdir()] == ["meltpoint.json"]
    expected = "does not know what SmoothQuant scales in OPTForCausalLM"
    assert expected in Description.read(target).reason


def test_what_the_library_has_wrong_is_found_out(made, windows, tmp_path, monkeypatch):
    """Its Gemma 2: the feed-forward reads another norm than the one it scales."""
    monkeypatch.delitem(_llmcompressor.READ_FROM_NORMS, "Gemma2ForCausalLM")
    target = run(made("gemma2", "dense"), tmp_path / "gemma2", STEP, windows)
    expected = "SmoothQuant scales in Gemma2ForCausalLM changes what the model computes"
    assert expected in Description.read(target).reason


def test_a_library_that_scales_nothing_is_found_out(made, windows, tmp_path):
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    context = Context(torch.from_numpy(np.load(windows)).long(), Compute(device="cpu"))
    model = _llmcompressor.load(made("llama", "dense"), context)
    smoother = SmoothQuantModifier(mappings=[])
    with pytest.raises(NotApplicable, match="SmoothQuant found nothing to scale in this Llama"):
        _llmcompressor.smooth_and_round(model, smoother, smoothquant.W8A8, tmp_path, context)


def test_a_trained_model_is_hardly_changed(trained, tmp_path):
    folder, texts, given = trained
    dense = perplexity(folder, texts)
    target = run(folder, tmp_path / "w8a8", STEP, given)
    assert 0 < abs(perplexity(target, texts) / dense - 1) < 0.005
