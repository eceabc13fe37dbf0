"""HQQ: decoded as hqq does, loaded again by hqq, what it does to zeros, and what it cannot do."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.formats import hqq as stored
from meltpoint.errors import MeltpointError
from meltpoint.model.base_models import verify, write_description
from meltpoint.model.load import load
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model

quantize = pytest.importorskip(
    "hqq.core.quantize", reason="the library whose checkpoints these are"
)

DATA = Path(__file__).parents[3] / "shared" / "data"
WIDE = {"hidden_size": 256, "intermediate_size": 512}
CPU = torch.device("cpu")
LOADED = [
    ("llama", "hqq@4bit"),
    ("llama", "hqq@3bit,compute_dtype=float32"),
    ("llama", "hqq@2bit,group_size=-1,axis=0"),
    ("qwen2", "hqq@4bit,compute_dtype=float32"),
    ("opt", "hqq@8bit,compute_dtype=float32"),
]
# As the method's page says: the state dict of an HQQLinear under each linear's name.
IN_HQQ = """
import sys, pathlib, torch
from hqq.core.quantize import HQQLinear
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
ids, *folders = sys.argv[1:]
ids = load_file(ids)["ids"]
for folder in map(pathlib.Path, folders):
    stored = {k: t for f in sorted(folder.glob("*.safetensors")) for k, t in load_file(f).items()}
    dtype = torch.float32 if "float32" in folder.name else torch.float16
    config = AutoConfig.from_pretrained(folder)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name in [key.removesuffix(".W_q") for key in stored if key.endswith(".W_q")]:
        keys = [key for key in stored if key.startswith(name + ".")]
        t = {key.removeprefix(name + "."): stored.pop(key) for key in keys}
        layer = HQQLinear(None, None, compute_dtype=dtype, device="cpu")
        layer.load_state_dict(t)
        model.set_submodule(name, layer)
    unknown = torch.nn.Module.load_state_dict(model, stored, strict=False).unexpected_keys
    assert not unknown, unknown
    model.tie_weights()
    with torch.no_grad():
        seen = {"logits": model.eval()(ids).logits}
    for name, module in model.named_modules():
        if isinstance(module, HQQLinear):
            seen[name + ".weight"] = module.dequantize()
    save_file(seen, str(folder) + ".seen")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hqq")
    for family in ("llama", "qwen2", "opt"):
        save_model(folder / family, family, **(WIDE if family == "llama" else {}))
    return folder


@pytest.fixture(scope="module")
def made(place):
    """A family's model after a step, made once."""

    def make(family, step, **compute):
        target = place / f"{family}-{step}"
        return target if target.exists() else run(place / family, target, step, None, **compute)

    return make


def tensors_of(folder):
    files = sorted(folder.glob("*.safetensors"))
    return {key: tensor for file in files for key, tensor in load_file(file).items()}


def layer_of(weight, bits, dtype="float16", **config):
    """The library's layer of a weight."""
    made = quantize.BaseQuantizeConfig(bits, **config)
    dtype = getattr(torch, dtype)
    return quantize.HQQLinear.from_weights(weight, None, made, compute_dtype=dtype, device="cpu")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("group_size", [64, 8, None])
@pytest.mark.parametrize("bits", methods.find("hqq").bits)
def test_decoded_is_what_hqq_dequantizes(bits, group_size, axis, dtype):
    """Bit for bit; 192 groups of 64 or 48 of a row are no multiple of the 10 that 3 bits pack."""
    weight = torch.randn(48, 256, generator=torch.Generator().manual_seed(0))
    layer = layer_of(weight, bits, dtype, group_size=group_size, axis=axis)
    tensors = {f"l.{key}": tensor for key, tensor in layer.state_dict().items()}
    parts = {short: tensors[key] for short, key in stored.parts("l", tensors).items()}
    ours = stored.decode(parts, {})
    assert ours.dtype == torch.float32
    assert torch.equal(ours, layer.dequantize().float())
    if bits == 8:
        assert (ours - weight).abs().max() < (0.2 if dtype == "bfloat16" else 0.03)
    grid = stored.grid(parts, {})
    size = group_size or (256 if axis == 1 else 48)
    assert (grid.bits, grid.group_size, grid.symmetric) == (bits, size, True)
    assert grid.scale_bits == (64 if dtype == "float32" else 32)


def test_codes_that_are_stored_as_floats():
    """hqq can view packed codes as numbers of another dtype."""
    weight = torch.randn(48, 256, generator=torch.Generator().manual_seed(0))
    for bits in (4, 3):
        layer = layer_of(weight, bits, view_as_float=True)
        assert layer.W_q.dtype == torch.float16
        assert torch.equal(stored.decode(layer.state_dict(), {}), layer.dequantize().float())


def test_the_folder_is_laid_out_as_hqq_does(place, made):
    folder = made("llama", "hqq@4bit")
    assert not [file for file in folder.iterdir() if file.suffix in (".pt", ".bin", ".pth")]
    found = tensors_of(folder)
    keys = {key.rsplit(".", 1)[1] for key in found if key.startswith("model.layers.0.mlp.up_proj.")}
    assert keys == quantize.HQQLinear(None, None).state_dict_keys() - {"bias"}
    assert stored.parts("lm_head", found) == {}
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "hqq"
    assert config["quant_config"] == quantize.BaseQuantizeConfig(4, 64)
    before = tensors_of(place / "llama")
    others = set(before) - set(linear_names(place / "llama"))
    assert all(torch.equal(before[name], found[name]) for name in others)


@pytest.fixture(scope="module")
def in_hqq(place, made):
    """What hqq computes from the checkpoints in a process of its own, and the tokens."""
    ids = random_tokens(2, 40, seed=2)
    save_file({"ids": ids}, place / "ids")
    folders = [str(made(family, step)) for family, step in LOADED]
    command = [sys.executable, "-c", IN_HQQ, str(place / "ids"), *folders]
    subprocess.run(command, check=True, capture_output=True)
    seen = (load_file(f"{folder}.seen") for folder in folders)
    return dict(zip(LOADED, seen, strict=True)), ids


@pytest.mark.parametrize(("family", "step"), LOADED)
def test_hqq_loads_it_and_computes_the_same(family, step, made, in_hqq):
    seen, ids = in_hqq
    seen, found = seen[family, step], weights(made(family, step))
    names = linear_names(made(family, step))
    assert all(torch.equal(found[name], seen[name].float()) for name in names)
    dtype = seen["logits"].dtype
    with torch.no_grad():
        ours = load(made(family, step), dtype, CPU)(ids).logits
    half = dtype == torch.float16
    torch.testing.assert_close(
        ours, seen["logits"], rtol=1e-2 if half else 1e-4, atol=1e-2 if half else 1e-5
    )


def test_same_job_spec_same_bytes(place, made, tmp_path):
    again = run(place / "llama", tmp_path / "again", "hqq@3bit,compute_dtype=float32", None)
    hashes = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        for folder in (made("llama", "hqq@3bit,compute_dtype=float32"), again)
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(("level", "least"), [("4bit", 0.9), ("2bit", 0.9)])
def test_zeros_of_a_pruned_model_are_lost_and_counted(level, least, place, tmp_path):
    parent = run(place / "llama", tmp_path / "parent", "magnitude@0.5", None)
    child = run(parent, tmp_path / "child", f"hqq@{level}", None)
    before, after = weights(parent), weights(child)
    pairs = [(before[name], after[name]) for name in linear_names(parent)]
    zeros = sum(int((old == 0).sum()) for old, _ in pairs)
    lost = sum(int(((old == 0) & (new != 0)).sum()) for old, new in pairs)
    assert lost > least * zeros
    description = Description.read(child)
    assert description.requested["zeros"] == 0.5
    assert description.zeros_lost == lost
    size = sum(new.numel() for _, new in pairs)
    assert description.achieved.zeros == pytest.approx((zeros - lost) / size)


def test_the_dtype_of_scales_is_not_the_study_s(place, tmp_path):
    target = run(place / "llama", tmp_path / "a", "hqq@4bit", None, dtype="bfloat16")
    found = tensors_of(target)
    assert found["model.layers.0.mlp.up_proj.scale"].dtype == torch.float16
    assert found["lm_head.weight"].dtype == torch.bfloat16
    form = format_of(target)
    names = [name.removesuffix(".weight") for name in linear_names(target)]
    stored_as = {Description.read(target).linears[name].stored.scale_bits for name in names}
    assert stored_as == {32}
    assert form.inputs() is None


# --- what it cannot do --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "inner", "reason"),
    [
        (
            "hqq@8bit",
            50,
            "multiple of group_size=64 entries; model.layers.0.mlp.gate_proj has 50 x 36",
        ),
        (
            "hqq@2bit",
            128,
            "packs 4 groups of 2 bits together; model.layers.0.self_attn.k_proj has 32 x 36, "
            "18 groups of 64",
        ),
    ],
)
def test_widths_that_no_groups_fill_are_not_applicable(step, inner, reason, tmp_path):
    base = save_model(tmp_path / "base", "llama", hidden_size=36, intermediate_size=inner)
    target = run(base, tmp_path / "target", step, None)
    assert [file.name for file in target.iterdir()] == ["meltpoint.json"]
    assert Description.read(target).status == "not_applicable"
    assert reason in Description.read(target).reason
    fitting = run(base, tmp_path / "fitting", f"{step},group_size=-1", None)
    assert Description.read(fitting).status == "ok"


def test_spellings_that_are_refused():
    def check(text):
        step = parse_step(text)
        method = methods.find(step.method)
        method.check_level(step.level)
        method.settings(step)

    check("hqq@4bit,group_size=-1,axis=0,compute_dtype=bfloat16")
    for setting in ("group_size=12", "group_size=0", "axis=2", "compute_dtype=int8"):
        with pytest.raises(MeltpointError, match=f"hqq: setting {setting.split('=')[0]}"):
            check(f"hqq@4bit,{setting}")
    with pytest.raises(MeltpointError, match="hqq needs a level"):
        check("hqq")


# --- a trained model ----------------------------------------------------------------------------


def perplexity(folder, ids):
    with torch.no_grad():
        scores = load(folder, torch.float32, CPU)(ids).logits.log_softmax(-1)[:, :-1]
    return float((-scores.gather(-1, ids[:, 1:, None]).double().mean()).exp())


def test_a_trained_model_loses_more_with_fewer_bits(tmp_path):
    source = DATA / "models" / "stories260K"
    if not source.exists():
        pytest.skip(f"{source} is absent")
    folder = tmp_path / "dense"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    write_description(folder, verify(folder))
    texts = json.loads((DATA / "corpora/tinystories/tinystories_1000.json").read_text())
    ids = AutoTokenizer.from_pretrained(folder)("\n".join(texts)[:60000])["input_ids"]
    ids = torch.tensor(ids[: 48 * 256]).view(48, 256)
    steps = ("hqq@8bit", "hqq@4bit", "hqq@3bit", "rtn@3bit,group_size=64", "hqq@2bit")
    ppl = {step: perplexity(run(folder, tmp_path / step, step, None), ids) for step in steps}
    dense = perplexity(folder, ids)
    assert ppl["hqq@8bit"] == pytest.approx(dense, rel=0.005)
    assert [*ppl.values()] == sorted(ppl.values())
