"""GGUF: the method from checkpoint to file, what it says of the file, and what it refuses."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

import gguf

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compression.step import check_level
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.size import size
from meltpoint.llamacpp.file import read
from meltpoint.llamacpp.importance import importance_matrix
from meltpoint.llamacpp.quantize import GROUPS, quantize
from meltpoint.llamacpp.runtime import token_nll
from meltpoint.model.load import load
from tests.support.llama_cases import HEAD, llama3_rope
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model

COMPUTE = Compute(device="cpu")
SIZES = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "initializer_range": 0.05}
# From the most faithful to the least; the last ones need an importance matrix.
LADDER = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")
OTHERS = ("q4_0", "iq4_xs", "iq3_m", "iq2_m")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    np.save(folder / "windows.npy", random_tokens(6, 48).numpy())
    save_model(folder / "dense", "llama", **SIZES)
    return folder


def made(place, chain):
    """The checkpoint of a chain of steps on the dense model, made once."""
    target = place / chain
    if not target.exists():
        parent, _, last = chain.rpartition("+")
        source = made(place, parent) if parent else place / "dense"
        run(source, target, last, place / "windows.npy")
    return target


def nll(folder):
    return token_nll(folder / "model.gguf", random_tokens(6, 48, seed=2).numpy(), COMPUTE)


def error(place, scheme):
    """How far the likelihoods are from those of the 16-bit file."""
    found, exact = (nll(made(place, f"gguf@{name}")) for name in (scheme, "f16"))
    return float(np.sqrt(np.square(found - exact).mean()))


def test_the_ladder_is_monotone_in_error_and_in_size(place):
    errors = [error(place, scheme) for scheme in LADDER]
    sizes = [size(made(place, f"gguf@{scheme}"))["bits_per_weight"] for scheme in LADDER]
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < errors[1] < 0.05
    assert errors[-1] < 1


@pytest.mark.parametrize("scheme", OTHERS)
def test_the_other_schemes_lie_between(place, scheme):
    assert error(place, "q6_k") < error(place, scheme) < error(place, "q2_k")


@pytest.mark.slow
def test_the_coarsest_scheme(place):
    """llama.cpp takes ten seconds for the tables of its code books."""
    least = {"num_hidden_layers": 1, "intermediate_size": 256}
    source = save_model(place / "small", "llama", **{**SIZES, **least})
    target = run(source, place / "iq1_m", "gguf@iq1_m", place / "windows.npy")
    assert size(target)["bits_per_weight"] < 2.5
    bits = {layer.stored.bits for layer in Description.read(target).linears.values()}
    assert bits == {1, 2}


def sums(folder):
    """The hashes of all files but the description, which names the code's versions."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


@pytest.mark.parametrize("step", ["gguf@f16", "gguf@q4_k_m", "gguf@q2_k,imatrix=on"])
def test_same_job_spec_same_bytes(place, tmp_path, step):
    again = run(place / "dense", tmp_path / "again", step, place / "windows.npy")
    assert sums(again) == sums(made(place, step))
    assert set(sums(again)) == {
        "config.json",
        "generation_config.json",
        "meltpoint.json",
        "model.gguf",
    }


def test_what_is_said_of_a_linear_is_what_its_file_holds(place):
    """Of the 16-bit file: every weight in its own place, but rounded."""
    before = weights(place / "dense")
    layers = Description.read(made(place, "gguf@f16")).linears
    assert [f"{name}.weight" for name in layers] == linear_names(place / "dense")
    for name, layer in layers.items():
        half = before[f"{name}.weight"].half()
        assert layer.zeros == int((half == 0).sum())
        assert "stored" not in layer


@pytest.mark.parametrize("scheme", ["q8_0", "q4_k_m"])
def test_decoded_weights_are_those_that_llama_cpp_runs(place, scheme):
    """transformers with them is far nearer to llama.cpp than to itself before."""
    from meltpoint.llamacpp.layers import decoded

    target = made(place, f"gguf@{scheme}")
    tensors = {t.name: t for t in read(target / "model.gguf").tensors}
    model = load(place / "dense", torch.float32, torch.device("cpu"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, parameter in model.named_parameters():
        tensor = tensors[names.get_name(name, (".weight",))]
        if parameter.dim() > 1:
            parameter.data.copy_(decoded(tensor, name, model.config))
    ids = random_tokens(6, 48, seed=2)
    losses = -model(ids[:, :-1]).logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    found = nll(target)
    # What is left are the activations, which llama.cpp multiplies in 8 bits.
    assert np.square(found - losses.detach().numpy()).mean() < 0.1 * error(place, "q4_k_m") ** 2


def test_zeros_that_a_type_has_no_level_for_are_lost(place):
    achieved = {
        scheme: Description.read(made(place, f"magnitude@0.5+gguf@{scheme}"))
        for scheme in ("f16", "q8_0", "q6_k", "q4_0", "q4_k_m", "iq4_xs")
    }
    for scheme in ("f16", "q8_0", "q6_k", "q4_0"):
        assert not achieved[scheme].zeros_lost
        assert achieved[scheme].achieved.zeros == pytest.approx(0.5, abs=1e-4)
    assert achieved["q4_k_m"].achieved.zeros < 0.2
    assert achieved["iq4_xs"].achieved.zeros == 0
    linears = sum(weights(place / "dense")[n].numel() for n in linear_names(place / "dense"))
    assert achieved["iq4_xs"].zeros_lost == pytest.approx(linears / 2, rel=1e-4)


def test_size_is_counted_in_the_file(place):
    """q8_0: 8.5 bits a weight in all matrices, 32 in norms; zeros of rounding spare nothing."""
    target = made(place, "gguf@q8_0")
    found, tensors = size(target), weights(place / "dense")
    bits = sum(w.numel() * (8.5 if w.dim() > 1 else 32) for w in tensors.values())
    count = sum(w.numel() for w in tensors.values())
    assert found["parameters"] == count
    assert found["bits_per_weight"] == pytest.approx(bits / count)
    assert found["bytes"] == (target / "model.gguf").stat().st_size
    assert found["bytes"] == pytest.approx(bits / 8, rel=0.01)
    stored = read(target / "model.gguf").tensors
    nonzeros = sum(np.count_nonzero(gguf.dequantize(t.data, t.tensor_type)) for t in stored)
    assert found["nonzeros"] == nonzeros < count


@pytest.mark.parametrize(
    ("scheme", "code", "stored"), [("f16", 16, 16), ("q8_0", 8, 8.5), ("q4_0", 4, 4.5)]
)
def test_pruned_weights_cost_a_mask_where_that_is_less(place, scheme, code, stored):
    """As everywhere: a bit a weight, the codes of what is left, all of the scales."""
    chain = f"magnitude@0.5+gguf@{scheme}"
    pruned, dense = size(made(place, chain)), size(made(place, f"gguf@{scheme}"))
    tensors = weights(place / "dense")
    linears = sum(tensors[n].numel() for n in linear_names(place / "dense"))
    zeros = sum((tensors[n].numel() + 1) // 2 for n in linear_names(place / "dense"))
    spared = (zeros * code - linears) / pruned["parameters"]
    assert dense["bits_per_weight"] - pruned["bits_per_weight"] == pytest.approx(spared, rel=1e-3)
    assert pruned["bytes"] == (made(place, chain) / "model.gguf").stat().st_size == dense["bytes"]
    assert size(made(place, "magnitude@0.05+gguf@q4_0"))["bits_per_weight"] == pytest.approx(
        size(made(place, "gguf@q4_0"))["bits_per_weight"]
    )


def test_zeros_of_pruned_and_rounded_weights_are_those_of_the_file(place):
    target = made(place, "magnitude@0.5+gguf@q8_0")
    stored = read(target / "model.gguf").tensors
    nonzeros = sum(np.count_nonzero(gguf.dequantize(t.data, t.tensor_type)) for t in stored)
    assert size(target)["nonzeros"] == nonzeros


# What a linear's inputs are, 320 or 352 wide: in no scheme a multiple of 256.
FALLBACKS = {
    "q6_k": {"Q8_0"},
    "q5_k_m": {"Q8_0", "Q5_1"},
    "q4_k_m": {"Q8_0", "Q5_0"},
    "q3_k_m": {"Q4_0", "Q5_0", "Q5_1"},
    "q2_k": {"Q4_0"},
    "iq2_m": {"IQ4_NL"},
}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    sizes = {"hidden_size": 320, "intermediate_size": 352, "head_dim": 80}
    folder = tmp_path_factory.mktemp("narrow")
    np.save(folder / "windows.npy", random_tokens(6, 48).numpy())
    return save_model(folder / "dense", "llama", **sizes)


@pytest.mark.parametrize("scheme", FALLBACKS)
def test_with_fallback_each_linear_is_said_to_be_what_it_is_stored_as(narrow, tmp_path, scheme):
    windows = narrow.parent / "windows.npy"
    refused = run(narrow, tmp_path / "refused", f"gguf@{scheme}", windows)
    reason = Description.read(refused).reason
    assert reason.startswith(
        f"{scheme} needs input widths that are multiples of 256; model.layers."
    )
    assert reason.endswith("has 320 (fallback=true stores such linears in the types that llama.cpp "
                           "falls back to)")  # fmt: skip
    target = run(narrow, tmp_path / "made", f"gguf@{scheme},fallback=true", windows)
    linears = [t for t in read(target / "model.gguf").tensors if t.name.startswith("blk.")]
    linears = [t for t in linears if len(t.shape) > 1]
    assert {gguf.GGMLQuantizationType(t.tensor_type).name for t in linears} == FALLBACKS[scheme]
    found = {layer.stored.bits for layer in Description.read(target).linears.values()}
    assert found == {GROUPS[name][0] for name in FALLBACKS[scheme]}
    assert np.isfinite(nll(target)).all()


def test_without_a_block_of_32_the_fallback_is_16_bit(tmp_path, place):
    source = save_model(tmp_path / "model", "llama", intermediate_size=48)
    target = run(source, tmp_path / "made", "gguf@q8_0,fallback=true", place / "windows.npy")
    layers = Description.read(target).linears
    assert {name.rpartition(".")[2] for name, x in layers.items() if x.stored is None} == {
        "down_proj"
    }
    pruned = run(source, tmp_path / "half", "magnitude@0.5", place / "windows.npy")
    target = run(pruned, tmp_path / "both", "gguf@q8_0,fallback=true", place / "windows.npy")
    assert size(target)["bits_per_weight"] < 0.8 * size(tmp_path / "made")["bits_per_weight"]


def test_fallback_changes_nothing_where_blocks_are_filled(place, tmp_path):
    step = "gguf@q4_k_m,fallback=true"
    again = run(place / "dense", tmp_path / "made", step, place / "windows.npy")
    made_without = made(place, "gguf@q4_k_m") / "model.gguf"
    assert (again / "model.gguf").read_bytes() == made_without.read_bytes()


@pytest.mark.parametrize("name", GROUPS)
def test_grids_cost_what_the_types_take(name):
    bits, group_size, symmetric = GROUPS[name]
    columns, bytes_of_block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    overhead = 8 * bytes_of_block - bits * columns
    grid = Quantized(bits, group_size, symmetric, 0)
    rest = overhead - grid.overhead(1, columns)
    assert rest >= 0
    assert rest % (columns // group_size) == 0


def test_importance_is_the_mean_square_of_inputs(place):
    windows = random_tokens(6, 48)
    found = importance_matrix(place / "dense", windows, COMPUTE)
    model = load(place / "dense", torch.float32, torch.device("cpu"))
    inputs = {}
    for name in ("q_proj", "o_proj"):
        module = model.get_submodule(f"model.layers.1.self_attn.{name}")
        module.register_forward_pre_hook(lambda _, args, n=name: inputs.update({n: args[0]}))
    with torch.no_grad():
        model(windows)
    for name, stored in (("q_proj", "attn_q"), ("o_proj", "attn_output")):
        expected = inputs[name].square().mean((0, 1))
        np.testing.assert_allclose(found[f"blk.1.{stored}.weight"], expected, rtol=1e-4)
    linears = [t.name for t in read(made(place, "gguf@f16") / "model.gguf").tensors]
    assert set(found) == {n for n in linears if n.startswith("blk.") and "norm" not in n}


def test_inputs_that_overflow_make_no_importance_matrix(place, tmp_path):
    """float16 ends at 65504: what the first block's up and gate projections make is beyond it."""
    source = save_model(tmp_path / "model", "llama", **SIZES)
    found = weights(source)
    for name in ("up", "gate"):
        found[f"model.layers.0.mlp.{name}_proj.weight"] *= 1e3
    save_file(found, source / "model.safetensors", metadata={"format": "pt"})
    compute = Compute(device="cpu", dtype="float16")
    with pytest.raises(MeltpointError, match=r"block 0 are not finite in float16: .* bfloat16"):
        importance_matrix(source, random_tokens(6, 48), compute)
    matrix = importance_matrix(
        source, random_tokens(6, 48), Compute(device="cpu", dtype="bfloat16")
    )
    assert all(np.isfinite(columns).all() for columns in matrix.values())


def test_an_importance_matrix_helps_where_it_is_asked_for(place):
    assert error(place, "q2_k,imatrix=on") < error(place, "q2_k")
    assert error(place, "iq3_m,imatrix=on") < error(place, "iq3_m")


@pytest.mark.parametrize(
    ("step", "calibrated"),
    [
        ("gguf@q4_k_m", False),
        ("gguf@iq2_m", True),
        ("gguf@iq1_m", True),
        ("gguf@q4_k_m,imatrix=on", True),
        ("gguf@f16,imatrix=on", False),
        ("gguf@q8_0,imatrix=on", False),
        ("gguf@iq2_m,imatrix=off", False),
    ],
)
def test_which_schemes_look_at_text(step, calibrated):
    assert methods.find("gguf").calibrated(parse_step(step)) is calibrated


def test_a_step_without_a_matrix_is_spelled_without_its_calibration():
    step = parse_step("gguf@q2_k,imatrix=off,samples=8")
    assert str(methods.find("gguf").canonical(step)) == "gguf@q2_k,imatrix=off"


@pytest.mark.parametrize(
    ("family", "sizes", "step", "reason"),
    [
        ("opt", {}, "gguf@f16", "not for opt"),
        ("bloom", {}, "gguf@f16", "not for bloom"),
        ("llama", {}, "gguf@q4_k_m", "256; model.layers.0.self_attn.q_proj has 64"),
        (
            "llama",
            {"intermediate_size": 48},
            "gguf@q8_0",
            "32; model.layers.0.mlp.down_proj has 48",
        ),
        ("llama", SIZES, "gguf@iq2_m,imatrix=off", "iq2_m needs an importance matrix"),
        ("llama", {"hidden_act": "gelu"}, "gguf@f16", "its activation is gelu"),
        ("gemma2", {}, "gguf@f16", "query_pre_attn_scalar is 256"),
        ("gemma2", {"tie_word_embeddings": False}, "gguf@f16", "its head is not tied"),
        (
            "gemma2",
            {**HEAD, "attn_logit_softcapping": None},
            "gguf@f16",
            "caps no attention scores",
        ),
        ("gemma2", {**HEAD, "final_logit_softcapping": None}, "gguf@f16", "caps no logits"),
        ("qwen2", {"rope_parameters": llama3_rope(16)}, "gguf@f16", "rope scaling of type llama3"),
        (
            "gemma2",
            {**HEAD, "rope_parameters": llama3_rope(16)},
            "gguf@f16",
            "rope scaling of type llama3",
        ),
    ],
)
def test_what_llama_cpp_cannot_do_is_not_applicable(place, tmp_path, family, sizes, step, reason):
    source = save_model(tmp_path / "model", family, **sizes)
    target = run(source, tmp_path / "made", step, place / "windows.npy")
    assert reason in Description.read(target).reason
    assert [f.name for f in target.iterdir()] == ["meltpoint.json"]


def test_weights_beyond_float16_are_not_applicable(place, tmp_path):
    source = save_model(tmp_path / "model", "llama")
    found = weights(source)
    found["model.layers.1.mlp.up_proj.weight"][3, 5] = 7e4
    save_file(found, source / "model.safetensors", metadata={"format": "pt"})
    target = run(source, tmp_path / "made", "gguf@f16", place / "windows.npy")
    reason = "model.layers.1.mlp.up_proj.weight has weights beyond the range of float16"
    assert reason in Description.read(target).reason


def test_nothing_can_follow(place):
    assert "put gguf last" in Description.read(made(place, "gguf@q8_0+magnitude@0.5")).reason


def test_llama_cpp_says_why_it_cannot_quantise(place, tmp_path):
    source = made(place, "gguf@f16") / "model.gguf"
    with pytest.raises(MeltpointError, match="requires an imatrix"):
        quantize(source, tmp_path / "made.gguf", "iq2_m", 1, None)


def test_a_level_of_others_is_no_crash():
    """gguf@4bit: a bit width is for other methods of the kind, so it is a cell with the reason."""
    step = parse_step("gguf@4bit")
    assert not methods.find("gguf").calibrated(step)
    with pytest.raises(NotApplicable, match="gguf takes a named scheme such as q4_k_m, not 4bit"):
        check_level(step)
