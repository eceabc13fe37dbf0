"""GPTQ: decoded as GPTQModel does, its formulas in a plain loop, its inputs, zeros, refusals."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import gptq as layout
from meltpoint.checkpoints.io import Reader
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compression.step import check_level
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.model.load import load
from tests.support.steps import run
from tests.support.tiny_models import random_tokens, save_model

pytest.importorskip("gptqmodel", reason="the library that does the work")

SHARED = Path(__file__).parents[3] / "shared" / "data"
CPU = torch.device("cpu")
WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
FAMILIES = {
    "llama": WIDE,
    "mistral": WIDE,
    "qwen2": WIDE,
    "gemma2": WIDE | {"sliding_window": 64},
    "opt": {"hidden_size": 256, "ffn_dim": 512, "word_embed_proj_dim": 256},
}
# Together: every width, both versions of the layout, all orders of columns, biases, tied embeddings.
STEPS = {
    "llama": (
        "gptq@4bit",
        "gptq@3bit,symmetric=false",
        "gptq@2bit,desc_act=true,group_size=32,symmetric=false",
    ),
    "mistral": ("gptq@8bit,group_size=-1",),
    "qwen2": ("gptq@4bit", "gptq@2bit"),
    "opt": ("gptq@4bit,group_size=64",),
    "gemma2": ("gptq@4bit,act_group_aware=false",),
}
CASES = [(family, step) for family, steps in STEPS.items() for step in steps]
# In a process that knows of the checkpoint its folder alone.
LIBRARIES = """
import json, sys, torch
from gptqmodel import GPTQModel
from gptqmodel.models import loader
from transformers import AutoModelForCausalLM, GPTQConfig
loader.load_hf_tokenizer = lambda *a, **k: None
ids = torch.load(sys.argv[1])
def logits(model):
    with torch.no_grad():
        return model.eval()(ids).logits.float()
found = {}
for folder in sys.argv[3:]:
    config = json.load(open(folder + "/config.json"))["quantization_config"]
    by_torch = GPTQConfig(bits=config["bits"], backend="torch")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=by_torch)
    packed = {n: m for n, m in model.named_modules() if hasattr(m, "qweight")}
    weights = {n: m.dequantize_weight().T.clone() for n, m in packed.items()}
    found[folder] = {"weights": weights, "transformers": logits(model)}
    if "llama" in folder:
        own = GPTQModel.load(folder, device="cpu", backend="torch", dtype=torch.float16).model
        found[folder]["gptqmodel"] = logits(own)
torch.save(found, sys.argv[2])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gptq")


@pytest.fixture(scope="module")
def windows(folder):
    np.save(folder / "windows.npy", random_tokens(16, 40).numpy())
    return folder / "windows.npy"


@pytest.fixture(scope="module")
def bases(folder):
    return {family: save_model(folder / family, family, **FAMILIES[family]) for family in FAMILIES}


@pytest.fixture(scope="module")
def made(folder, bases, windows):
    """The checkpoint of each case."""
    return {
        (family, step): run(bases[family], folder / f"{family}-{step}", step, windows)
        for family, step in CASES
    }


@pytest.fixture(scope="module")
def by_libraries(folder, made):
    """What GPTQModel and transformers make of these folders in a process of their own."""
    ids, out = folder / "ids.pt", folder / "found.pt"
    torch.save(random_tokens(2, 20, seed=1), ids)
    folders = list(map(str, made.values()))
    code = [sys.executable, "-c", LIBRARIES, str(ids), str(out), *folders]
    # Compiling their kernels would take minutes.
    eager = os.environ | {"TORCHDYNAMO_DISABLE": "1"}
    done = subprocess.run(code, capture_output=True, text=True, check=False, env=eager)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out)


def stored(folder, linear):
    tensors = load_file(folder / "model.safetensors")
    return {part: tensors[key] for part, key in layout.parts(linear, tensors).items()}


def config(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def digests(folder):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("sorted_columns", [False, True])
def test_any_codes_are_read_as_the_library_reads_them(bits, version, sorted_columns):
    """With zero points of 0 too, which borrow from their neighbours in the layout's first version."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module as to_second
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module as to_first

    torch.manual_seed(bits)
    scales = (0.01 + torch.rand(64, 3)).half().float()
    zeros = torch.randint(0, 2**bits, (64, 3)).float()
    codes = torch.randint(0, 2**bits, (64, 96))
    groups = torch.arange(96) // 32
    groups = groups[torch.randperm(96)] if sorted_columns else groups
    linear = torch.nn.Linear(96, 64, bias=False)
    linear.weight.data = (codes - zeros[:, groups]) * scales[:, groups]
    packed = TorchLinear(bits, 32, False, sorted_columns, 96, 64).eval()
    packed.pack(linear, scales, zeros, groups.int())
    if version == "gptq":
        to_first(packed, QuantizeConfig(bits=bits, group_size=32))
    parts = {part: getattr(packed, part).clone() for part in layout.PARTS}
    ours = layout.decode(parts, {"bits": bits, "checkpoint_format": version})
    if version == "gptq":
        to_second(packed, bits, torch.int32)
    assert torch.equal(ours, linear.weight)
    # The product of a float16 and a code is exact in float32; the library rounds it to float16.
    assert torch.equal(ours.half(), packed.dequantize_weight().T)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="checkpoint_format is marlin"):
        layout.decode(dict.fromkeys(layout.PARTS, torch.zeros(4, 4, dtype=torch.int32)),
                      {"bits": 4, "checkpoint_format": "marlin"})  # fmt: skip


def test_weights_are_those_that_the_library_dequantises(made, by_libraries):
    for target in made.values():
        theirs = by_libraries[str(target)]["weights"]
        assert theirs.keys() == Description.read(target).linears.keys()
        for name, weight in theirs.items():
            assert torch.equal(layout.decode(stored(target, name), config(target)).half(), weight)


@pytest.mark.parametrize(("family", "step"), CASES)
def test_logits_are_those_of_transformers_and_of_the_library(
    family, step, bases, made, by_libraries
):
    target = made[family, step]
    theirs = by_libraries[str(target)]
    model = load(target, torch.float32, CPU)
    for name in Description.read(target).linears:
        # As their kernels hold it.
        weight = model.get_submodule(name).weight
        weight.data = weight.half().float()
    ids = random_tokens(2, 20, seed=1)
    with torch.no_grad():
        ours = model(ids).logits
        dense = load(bases[family], torch.float32, CPU)(ids).logits
    largest = ours.abs().max()
    # Both in float32, with sums in another order: 1.4e-6 on one processor, under 1e-6 on another.
    assert (ours - theirs["transformers"]).abs().max() <= 5e-6 * largest
    # All of the model in float16: 11 bits of mantissa, through two blocks.
    if family == "llama":
        assert (ours - theirs["gptqmodel"]).abs().max() < 1e-2 * largest
    assert (ours - dense).abs().max() > 1e-3 * largest


@pytest.mark.parametrize(("family", "step"), CASES)
def test_the_folder_is_what_kernels_expect(family, step, bases, made):
    target, settings = made[family, step], methods.find("gptq").settings(parse_step(step))
    names = {"config.json", "generation_config.json", "meltpoint.json", "model.safetensors"}
    assert {f.name for f in target.iterdir()} == {*names, "quantize_config.json"}
    saved = config(target)
    assert saved == json.loads((target / "quantize_config.json").read_text())
    wanted = {"quant_method": "gptq", "bits": parse_step(step).level.bits, "lm_head": False}
    wanted |= {"group_size": settings.group_size, "sym": settings.symmetric}
    wanted |= {"desc_act": settings.desc_act, "pack_dtype": "int32"}
    wanted["checkpoint_format"] = "gptq" if settings.symmetric else "gptq_v2"
    assert {key: saved[key] for key in wanted} == wanted
    assert "/" not in json.dumps(saved).replace("https://github.com/modelcloud/gptqmodel", "")
    own = (bases[family] / "generation_config.json").read_bytes()
    assert (target / "generation_config.json").read_bytes() == own
    grid = Quantized(wanted["bits"], settings.group_size, settings.symmetric)
    assert all(layer.stored == grid for layer in Description.read(target).linears.values())


@pytest.mark.parametrize(("family", "step"), CASES)
def test_nothing_else_has_changed_but_that_biases_are_float16(family, step, bases, made):
    before, after = (
        load_file(f / "model.safetensors") for f in (bases[family], made[family, step])
    )
    linears = Description.read(made[family, step]).linears
    others = [n for n in before if n.removesuffix(".weight") not in linears]
    assert set(others) == {n for n in after if n.rpartition(".")[2] not in layout.PARTS}
    for name in others:
        inside = name.removesuffix(".bias") in linears
        expected = before[name].half() if inside else before[name]
        assert torch.equal(after[name], expected), name


def test_same_job_spec_same_bytes_whatever_the_workers(bases, made, windows, tmp_path, monkeypatch):
    monkeypatch.setenv("GPTQMODEL_CPU_WORKERS", "3")
    again = run(bases["qwen2"], tmp_path / "again", "gptq@4bit", windows)
    assert digests(again) == digests(made["qwen2", "gptq@4bit"])


def captured(monkeypatch):
    """The Hessian of each linear, by its name, as the library has it when it starts to round."""
    from gptqmodel.quantization import GPTQ

    hessians, original = {}, GPTQ.quantize

    def quantize(self, *arguments):
        hessians[self._named_module.full_name] = self.finalize_hessian().clone()
        return original(self, *arguments)

    monkeypatch.setattr(GPTQ, "quantize", quantize)
    return hessians


@pytest.mark.parametrize(("samples", "length"), [(6, 8), (3, 100)])
def test_the_library_sees_the_windows_as_they_are(samples, length, bases, tmp_path, monkeypatch):
    """Of its own it leaves out those of 10 tokens or less, and cuts them at the 64 positions."""
    ids = random_tokens(samples, length, seed=2)
    np.save(tmp_path / "w.npy", ids.numpy())
    hessians = captured(monkeypatch)
    target = run(bases["llama"], tmp_path / "t", "gptq@8bit,group_size=16", tmp_path / "w.npy")
    model = load(bases["llama"], torch.float32, CPU)
    # Later linears see what earlier ones, quantised, have made of it: at 8 bits next to the same.
    inputs: dict[str, list] = {}
    for name in Description.read(target).linears:
        keep = inputs.setdefault(name, [])
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, x, keep=keep: keep.append(x[0])
        )
    with torch.no_grad():
        model(ids)
    for name, (x,) in inputs.items():
        x = x.flatten(0, 1)
        error = (hessians[name] - 2 / len(x) * x.T @ x).norm() / hessians[name].norm()
        assert error < (1e-6 if name.endswith("layers.0.self_attn.q_proj") else 0.02), name


def reference(weight, hessian, bits, group_size, symmetric, zeros=None):
    """The method's formulas, a column at a time, in float64; `zeros` are weights that stay zero."""
    weight, hessian = weight.double().clone(), hessian.double()
    damped = hessian + 0.05 * hessian.diagonal().mean() * torch.eye(len(hessian))
    upper = torch.linalg.cholesky(damped.inverse(), upper=True)
    rounded = torch.empty_like(weight)
    for c in range(weight.shape[1]):
        if c % group_size == 0:
            group = weight[:, c : c + group_size].clone()
            if zeros is not None:
                group[zeros[:, c : c + group_size]] = 0
            low, high = group.amin(1).clamp(max=0), group.amax(1).clamp(min=0)
            if symmetric:
                high = torch.maximum(high, -low)
                low = -high
            scale = (high - low) / (2**bits - 1)
            zero = torch.full_like(scale, 2 ** (bits - 1)) if symmetric else (-low / scale).round()
        codes = ((weight[:, c] / scale).round() + zero).clamp(0, 2**bits - 1)
        rounded[:, c] = scale * (codes - zero)
        if zeros is not None:
            rounded[zeros[:, c], c] = 0
        error = (weight[:, c] - rounded[:, c]) / upper[c, c]
        weight[:, c:] -= error[:, None] * upper[c, c:]
    return rounded


@pytest.fixture(scope="module")
def pruned(folder, bases, windows):
    return run(bases["llama"], folder / "pruned", "wanda@0.5", windows)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("keep_zeros", [True, False])
def test_the_formulas(symmetric, keep_zeros, pruned, windows, tmp_path, monkeypatch):
    """Groups of 128, as many columns as the library takes at once: grids see all errors before."""
    hessians = captured(monkeypatch)
    step = f"gptq@3bit,act_group_aware=false,symmetric={symmetric},keep_zeros={keep_zeros}".lower()
    target = run(pruned, tmp_path / "t", step, windows)
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"):
        weight = Reader(pruned, torch.float32, CPU).read([f"{name}.weight"])[f"{name}.weight"]
        zeros = weight == 0 if keep_zeros else None
        theirs = layout.decode(stored(target, name), config(target))
        ours = reference(weight, hessians[name], 3, 128, symmetric, zeros)
        # Where a weight is half way between two codes float32 and 64 part, and so do columns after it.
        same = (ours - theirs).abs() < 1e-3 * ours.abs().max()
        assert same.double().mean() > 0.98, name


@pytest.mark.parametrize(
    "changes",
    [
        "4bit,symmetric=false",
        "4bit,symmetric=false,group_size=-1",
        "2bit,desc_act=true",
        "2bit,act_group_aware=false,group_size=32",
    ],
)
def test_zeros_stay_with_keep_zeros_and_some_are_lost_without(changes, pruned, windows, tmp_path):
    kept, plain = (
        run(pruned, tmp_path / str(keep), f"gptq@{changes},keep_zeros={keep}".lower(), windows)
        for keep in (True, False)
    )
    before, after = (Reader(f, torch.float32, CPU) for f in (pruned, kept))
    for name in Description.read(kept).linears:
        key = [f"{name}.weight"]
        old, new = before.read(key)[key[0]], after.read(key)[key[0]]
        assert (new[old == 0] == 0).all()
    assert not Description.read(kept).zeros_lost
    assert Description.read(kept).achieved.zeros == pytest.approx(0.5, abs=0.01)
    assert Description.read(plain).zeros_lost > 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("step", ["gptq@8bit,symmetric=false", "gptq@4bit,keep_zeros=false"])
def test_half_precision(step, dtype, pruned, windows, tmp_path):
    target = run(pruned, tmp_path / "t", step, windows, dtype=dtype)
    dense = load(pruned, torch.float32, CPU).state_dict()
    bits = parse_step(step).level.bits
    for name, weight in load(target, torch.float32, CPU).state_dict().items():
        if name.removesuffix(".weight") in Description.read(target).linears:
            # A good part of a step of a normal row's grid, and what its neighbours passed on.
            assert (weight - dense[name]).abs().mean() < 8 * dense[name].std() / 2**bits
    lost = Description.read(target).zeros_lost
    assert lost == 0 or "keep_zeros=false" in step


def test_what_it_cannot_do_is_said_in_one_sentence(bases, windows, tmp_path):
    def reason(base, step):
        target = run(base, tmp_path / "t", step, windows)
        assert [f.name for f in target.iterdir()] == ["meltpoint.json"]
        return Description.read(target).reason

    narrow = save_model(tmp_path / "narrow", "llama")
    assert "groups of 128; self_attn.q_proj has 64: set group_size" in reason(narrow, "gptq@4bit")
    odd = save_model(tmp_path / "odd", "llama", intermediate_size=100)
    assert "32; mlp.gate_proj has 100 outputs" in reason(odd, "gptq@4bit,group_size=-1")
    # Its sliding windows, of 8 tokens, are in every other block.
    gemma = save_model(tmp_path / "gemma", "gemma2", **WIDE)
    assert "block 1 of this model has others in windows of 40" in reason(gemma, "gptq@4bit")
    with pytest.raises(NotApplicable, match="gptq takes 2, 3, 4 or 8 bits, not 5"):
        check_level(parse_step("gptq@5bit"))
    with pytest.raises(MeltpointError, match=r"group_size is -1, 16, 32, .* or 1024, not 100"):
        methods.find("gptq").settings(parse_step("gptq@4bit,group_size=100"))


def test_one_spelling():
    def canonical(text):
        return str(methods.find("gptq").canonical(parse_step(text)))

    assert canonical("gptq@4bit,symmetric=true,damp=0.05") == "gptq@4bit"
    assert canonical("gptq@4bit,group_size=0") == "gptq@4bit,group_size=-1"
    assert canonical("gptq@4bit,desc_act=true,act_group_aware=false") == "gptq@4bit,desc_act=true"
