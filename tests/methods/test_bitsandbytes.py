"""NF4, FP4 and LLM.int8(): decoded as bitsandbytes does, loaded again by transformers, zeros kept."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import bitsandbytes as stored
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.linears import Quantized
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.size import size
from meltpoint.model.load import load
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model

bnb = pytest.importorskip("bitsandbytes", reason="the library whose checkpoints these are")

DATA = Path(__file__).parents[3] / "shared" / "data"
WIDE = {"hidden_size": 256, "intermediate_size": 512}
FOUR_BITS = ("nf4", "nf4,double_quant=true", "fp4", "fp4,double_quant=true")
STEPS = (*FOUR_BITS, "int8")
CPU = torch.device("cpu")
LOADED = [("llama", step) for step in STEPS] + [
    (family, step) for family in ("qwen2", "opt") for step in ("nf4", "int8")
]
# At batch 1: a batch shares its outlier columns. The kernel for AVX512-BF16 computes in bfloat16.
IN_TRANSFORMERS = """
import sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
ids, *folders = sys.argv[1:]
ids = load_file(ids)["ids"]
for folder in folders:
    model, seen = AutoModelForCausalLM.from_pretrained(folder, device_map="cpu").eval(), {}
    def note(name):
        def hook(module, given, output):
            seen[name + ".input"], seen[name + ".output"] = given[0].clone(), output.clone()
        return hook
    for name, module in model.named_modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        if type(module).__name__ == "Linear8bitLt":
            module.register_forward_hook(note(name))
    with torch.no_grad():
        seen["logits"] = torch.cat([model(row[None]).logits for row in ids])
    save_file(seen, folder + ".seen")
"""


def save_with_outliers(folder, family):
    """Some of the features that the norms put out are far beyond LLM.int8()'s threshold of 6."""
    save_model(folder, family, **(WIDE if family == "llama" else {}))
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if "norm" in name and name.endswith("weight"):
            tensor[:5] *= 6
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bitsandbytes")
    for family in ("llama", "qwen2", "opt"):
        save_with_outliers(folder / family, family)
    return folder


@pytest.fixture(autouse=True)
def without_compiling():
    """bitsandbytes would compile what it does without a kernel, for a minute."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture(scope="module")
def made(place):
    """A family's model after a step, made once."""

    def make(family, step, dtype="float32"):
        target = place / f"{family}-{step}-{dtype}"
        return target if target.exists() else run(place / family, target, step, None, dtype=dtype)

    return make


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


def parts_of(folder):
    """The stored parts of each linear, and the config that they are read by."""
    found, form = tensors_of(folder), format_of(folder)
    names = (name.removesuffix(".weight") for name in linear_names(folder))
    return form, {n: {s: found[key] for s, key in form.parts(n, found).items()} for n in names}


def dequantized(parts):
    """What bitsandbytes makes of a linear's parts."""
    if "SCB" in parts:
        return bnb.functional.int8_vectorwise_dequant(parts["weight"], parts["SCB"])
    named = {f"weight.{s}": t for s, t in parts.items() if s not in ("weight", "quant_state")}
    kind = json.loads(bytes(parts["quant_state"].tolist()))["quant_type"]
    named[f"weight.quant_state.bitsandbytes__{kind}"] = parts["quant_state"]
    state = bnb.functional.QuantState.from_dict(named, CPU)
    return bnb.functional.dequantize_4bit(parts["weight"], state)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("step", STEPS)
def test_decoded_is_what_bitsandbytes_dequantizes(step, dtype, made):
    """Bit for bit: 4 bits in the dtype that was quantised, to which bitsandbytes rounds them."""
    form, linears = parts_of(made("llama", step, dtype))
    assert len(linears) == 14
    for name, parts in linears.items():
        ours, theirs = form.decode(parts), dequantized(parts)
        assert ours.dtype == torch.float32
        assert theirs.dtype == (torch.float32 if step == "int8" else getattr(torch, dtype))
        assert torch.equal(ours.to(theirs.dtype), theirs), name


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize(("rows", "columns", "size"), [(5, 77, 64), (3, 10, 64), (9, 2100, 32)])
def test_blocks_that_are_short_and_odd(rows, columns, size, kind, nested):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    codes, state = bnb.functional.quantize_4bit(
        weight, blocksize=size, quant_type=kind, compress_statistics=nested
    )
    tensors = {"l.weight": codes}
    tensors |= {f"l.weight.{key}": t for key, t in state.as_dict(packed=True).items()}
    parts = {short: tensors[key] for short, key in stored.parts("l", tensors).items()}
    assert set(tensors) == set(stored.parts("l", tensors).values())
    assert torch.equal(stored.decode(parts, {}), bnb.functional.dequantize_4bit(codes, state))
    assert stored.grid(parts, {}).group_size == size


def test_rows_that_no_blocks_fill():
    """Where bitsandbytes' kernel for AVX512 is wrong: by its own way in PyTorch, and by the error."""
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute

    weight = torch.randn(128, 352, generator=torch.Generator().manual_seed(0))
    codes, state = bnb.functional.quantize_4bit(weight, quant_type="nf4")
    parts = {"weight": codes} | {
        key.replace("quant_state.bitsandbytes__nf4", "quant_state"): tensor
        for key, tensor in state.as_dict(packed=True).items()
    }
    ours = stored.decode(parts, {})
    arguments = (codes.flatten(), state.absmax, state.code, 64, state.shape, torch.float32)
    assert torch.equal(ours, _dequantize_4bit_compute(*arguments))
    # Half the widest gap of the table, of the largest weight.
    assert (ours - weight).abs().max() < 0.153 * weight.abs().max()
    assert (ours - weight).norm() < 0.1 * weight.norm()


def test_what_is_stored_plainly_has_no_parts(made):
    found = tensors_of(made("llama", "nf4"))
    assert stored.parts("lm_head", found) == {}
    assert stored.parts("model.embed_tokens", found) == {}


def test_grids(made):
    expected = {"nf4": (4, 64, 32), "nf4,double_quant=true": (4, 64, 8), "int8": (8, -1, 32)}
    for step, (bits, group_size, scale_bits) in expected.items():
        layers = Description.read(made("llama", step)).linears.values()
        grid = Quantized(bits, group_size, symmetric=True, scale_bits=scale_bits)
        assert {layer.stored for layer in layers} == {grid}


def test_double_quantization_spares_bits(made):
    """A scale of 32 bits for 64 weights becomes one of 8, beside a table of 1 kB for each linear."""
    one, two = (size(made("llama", step)) for step in ("nf4", "nf4,double_quant=true"))
    assert two["parameters"] == one["parameters"]
    assert two["bytes"] < one["bytes"]


# --- LLM.int8()'s inputs ------------------------------------------------------------------------


def activations(windows=1, tokens=24, columns=96, seed=0):
    """Some columns with outliers, others one step of float16 below the threshold, a token of zeros."""
    x = torch.randn(windows, tokens, columns, generator=torch.Generator().manual_seed(seed))
    x[..., 3] *= 20
    x[0, 5, 7] = 6
    x[0, 6, 8] = 5.996
    x[0, 2] = 0
    return x


@pytest.mark.parametrize("threshold", [6.0, 0.0, 1.5])
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_is_what_bitsandbytes_multiplies(threshold, bias):
    torch.manual_seed(0)
    linear = bnb.nn.Linear8bitLt(96, 40, bias, has_fp16_weights=False, threshold=threshold)
    linear = linear.to("cpu").eval()
    weight = stored.decode({"weight": linear.weight.CB, "SCB": linear.weight.SCB}, {})
    x = activations()
    inputs = stored.inputs({"load_in_8bit": True, "llm_int8_threshold": threshold})
    with torch.no_grad():
        theirs, ours = linear(x), F.linear(inputs(x), weight, linear.bias)
    # On CPUs bitsandbytes has 6.200124e-05 for 1 / 127^2: 1.8e-5 off.
    assert (ours - theirs).abs().max() < 4e-5 * theirs.abs().max()
    assert (F.linear(x, weight, linear.bias) - theirs).abs().max() > 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("threshold", [6.0, 0.0, 1.5])
def test_codes_are_those_of_bitsandbytes(threshold):
    x = activations()
    codes, scales, columns = bnb.functional.int8_vectorwise_quant(x[0].half(), threshold=threshold)
    rounded = stored.Int8Inputs(threshold)(x)[0]
    kept = torch.ones(x.shape[-1], dtype=torch.bool)
    kept[[] if columns is None else columns] = False
    assert (~kept).any() == bool(threshold)
    theirs = codes * (scales[:, None] / 127)
    torch.testing.assert_close(rounded[:, kept], theirs[:, kept], rtol=3e-7, atol=0)
    assert torch.equal(rounded[:, ~kept], x[0][:, ~kept])


def test_outlier_columns_pass_and_others_are_rounded():
    x = activations()
    rounded = stored.Int8Inputs(6.0)(x)
    passed = (rounded == x).all(dim=1)[0]
    assert passed.nonzero().flatten().tolist() == [3, 7]
    # Entries of these two columns that are no outliers count for their token's scale.
    steps = x.masked_fill(x.half().abs() >= 6, 0).abs().amax(-1, keepdim=True) / 127
    assert ((rounded - x).abs() <= 0.501 * steps + x.abs() * 2**-11).all()
    assert (rounded[0, 2] == 0).all()


def test_a_window_does_not_look_at_another():
    x = activations(windows=3)
    inputs = stored.Int8Inputs(6.0)
    together = inputs(x)
    alone = torch.cat([stored.Int8Inputs(6.0)(window[None]) for window in x])
    assert torch.equal(together, alone)
    # OPT's MLP gets its windows in one piece, after its attention has had them apart.
    assert torch.equal(inputs(x.flatten(0, 1)), alone.flatten(0, 1))
    assert not torch.equal(stored.Int8Inputs(6.0)(x.flatten(0, 1)), alone.flatten(0, 1))


def test_4_bits_leave_inputs_as_they_are(made):
    assert format_of(made("llama", "nf4")).inputs() is None


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_int8_does_not_depend_on_the_batch(family, made):
    model, ids = load(made(family, "int8"), torch.float32, CPU), random_tokens(4, 20, seed=1)
    with torch.no_grad():
        together, alone = model(ids).logits, torch.cat([model(row[None]).logits for row in ids])
    # Sums in another order may move a code by one.
    assert (together - alone).abs().max() < 0.02 * alone.abs().max()
    assert (together - alone).norm() < 2e-3 * alone.norm()


# --- whole checkpoints --------------------------------------------------------------------------


def perplexity(logits, ids):
    scores = logits.double().log_softmax(-1)[:, :-1]
    return float((-scores.gather(-1, ids[:, 1:, None]).mean()).exp())


def logits_of(folder, ids):
    """Ours, window by window."""
    model = load(folder, torch.float32, CPU)
    with torch.no_grad():
        return torch.cat([model(row[None]).logits for row in ids])


@pytest.fixture(scope="module")
def in_transformers(place, made):
    """What transformers computes from the checkpoints in a process of its own, and the tokens."""
    ids = random_tokens(2, 40, seed=2)
    save_file({"ids": ids}, place / "ids")
    folders = [str(made(family, step)) for family, step in LOADED]
    command = [sys.executable, "-c", IN_TRANSFORMERS, str(place / "ids"), *folders]
    subprocess.run(command, check=True, capture_output=True)
    seen = (load_file(f"{folder}.seen") for folder in folders)
    return dict(zip(LOADED, seen, strict=True)), ids


@pytest.mark.parametrize(("family", "step"), [c for c in LOADED if c[1] != "int8"])
def test_transformers_loads_4_bits_and_computes_the_same(family, step, made, in_transformers):
    seen, ids = in_transformers
    ours, theirs = logits_of(made(family, step), ids), seen[family, step]["logits"]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert perplexity(ours, ids) == pytest.approx(perplexity(theirs, ids), rel=1e-6)


@pytest.mark.parametrize("family", ["llama", "qwen2", "opt"])
def test_transformers_loads_int8_and_computes_the_same(family, place, made, in_transformers):
    """Linear by linear: behind the first a rounding may move a code, and the codes behind it."""
    seen, ids = in_transformers
    seen = seen[family, "int8"]
    form, linears = parts_of(made(family, "int8"))
    inputs, found = form.inputs(), weights(made(family, "int8"))
    outliers = 0
    for name, parts in linears.items():
        x, theirs = seen[f"{name}.input"], seen[f"{name}.output"]
        ours = F.linear(inputs(x), form.decode(parts), found.get(f"{name}.bias"))
        assert (ours - theirs).abs().max() < 4e-5 * theirs.abs().max(), name
        outliers += int((x.abs() >= 6).any(-2).sum())
    assert outliers >= len(linears)
    ours, dense = logits_of(made(family, "int8"), ids), logits_of(place / family, ids)
    assert (ours - seen["logits"]).norm() < (dense - seen["logits"]).norm()
    assert perplexity(ours, ids) == pytest.approx(perplexity(seen["logits"], ids), rel=2e-3)


@pytest.mark.parametrize("step", ["nf4", "int8"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "opt"])
def test_only_the_linears_of_the_blocks_change(family, step, place, made):
    """The head, tied or not, and OPT's projections beside the embeddings are left alone."""
    before, after = tensors_of(place / family), tensors_of(made(family, step))
    for name in set(before) - set(linear_names(place / family)):
        assert torch.equal(before[name], after[name]), name
    linears = [name.removesuffix(".weight") for name in linear_names(place / family)]
    assert all(name in before or name.startswith(tuple(linears)) for name in after)


@pytest.mark.parametrize("step", ["nf4,double_quant=true", "int8"])
def test_same_job_spec_same_bytes(step, place, made, tmp_path):
    again = run(place / "llama", tmp_path / "again", step, None)
    hashes = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        for folder in (made("llama", step), again)
    ]
    assert hashes[0] == hashes[1]
    assert set(hashes[0]) == {
        "config.json",
        "generation_config.json",
        "meltpoint.json",
        "model.safetensors",
    }


@pytest.mark.parametrize("step", STEPS)
def test_zeros_of_a_pruned_model_stay(step, place, tmp_path):
    parent = run(place / "llama", tmp_path / "parent", "magnitude@2of4", None)
    child = run(parent, tmp_path / "child", step, None)
    form, linears = parts_of(child)
    before = weights(parent)
    for name, parts in linears.items():
        assert (form.decode(parts)[before[f"{name}.weight"] == 0] == 0).all(), name
    description = Description.read(child)
    assert not description.zeros_lost
    assert description.achieved.zeros == Description.read(parent).achieved.zeros


def test_spellings_that_are_refused():
    def check(text):
        step = parse_step(text)
        method = methods.find(step.method)
        method.check_level(step.level)
        method.settings(step)

    with pytest.raises(MeltpointError, match="nf4 takes no level, so not @4bit"):
        check("nf4@4bit")
    with pytest.raises(MeltpointError, match="unknown setting 'group_size' of fp4"):
        check("fp4,group_size=128")
    with pytest.raises(MeltpointError, match="int8: setting threshold: must be "):
        check("int8,threshold=-1")
