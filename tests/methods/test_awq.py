"""AWQ: what it scales, what it stores, and what it cannot do."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.index import index
from meltpoint.checkpoints.linears import Quantized
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.methods import _llmcompressor
from meltpoint.model.base_models import verify, write_description
from meltpoint.model.empty_model import attention_of
from meltpoint.model.load import load
from tests.support.specs import compress_spec
from tests.support.tiny_models import random_tokens, save_model, save_windows

pytest.importorskip("llmcompressor", reason="llm-compressor is not installed")

DATA = Path(__file__).parents[3] / "shared/data"
WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
# v_proj is scaled only where there are as many heads of values as of queries.
SHAPES = {
    "llama": {**WIDE, "num_key_value_heads": 4},
    "mistral": WIDE,
    "qwen2": {**WIDE, "num_key_value_heads": 4},
    "gemma2": WIDE,
    "gemma3": WIDE,
    "opt": {"hidden_size": 256, "ffn_dim": 512},
    "bloom": {"hidden_size": 256},
}


def run(parent, target, spelling, windows, **compute):
    """Compresses by a step as its script does."""
    step = parse_step(spelling)
    settings = methods.find(step.method).settings(step).model_dump(mode="json")
    given = {"windows": {"file": "x"}}
    spec = compress_spec(str(step), {**settings, **given})
    compress(parent, target, spec, [windows], Compute(device="cpu", **compute))
    return target


def save_wide(folder, family):
    """A tiny model of widths that groups of 128 fill."""
    return save_model(folder, family, **SHAPES[family])


def logits(model):
    with torch.no_grad():
        return model(random_tokens(2, 20, seed=1)).logits


def ours(folder, dtype=torch.float32):
    return load(folder, dtype, torch.device("cpu"))


def hashes(folder):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def linear_weights(model):
    return {n: m.weight for n, m in _llmcompressor.linears(model).items()}


def others_changed(before, after):
    """The parameters, but the decoder's linears' weights, that a step has changed."""
    before, after = ours(before), ours(after)
    inside = {f"{name}.weight" for name in linear_weights(before)}
    now = dict(after.named_parameters())
    # Gemma's norms multiply by 1 + w; the library adds 1 to each and takes it away again.
    names = (n for n, p in before.named_parameters() if not torch.allclose(p, now[n], atol=1e-6))
    return {name.split(".", 3)[-1] for name in names if name not in inside}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("awq")


@pytest.fixture(scope="module")
def windows(place):
    return save_windows(place, 5, 48)


@pytest.fixture(scope="module")
def made(place, windows):
    """A family's model at a step, made once and not to be changed; before it with `dense`."""

    def make(family, spelling, parent="dense", **compute):
        target = place / f"{family}-{parent}-{spelling}-{compute}"
        if not target.exists():
            if spelling == "dense":
                save_wide(target, family)
            else:
                run(make(family, parent), target, spelling, windows, **compute)
        return target

    return make


@pytest.mark.parametrize(
    "family", ["llama", "mistral", "qwen2", "gemma2", "gemma3", "opt", "bloom"]
)
def test_it_computes_what_transformers_does(family, made):
    target = made(family, "awq@4bit")
    attention = attention_of(target)
    theirs = AutoModelForCausalLM.from_pretrained(target, attn_implementation=attention).eval()
    assert torch.equal(logits(ours(target)), logits(theirs))
    # By now the library has unpacked its weights.
    unpacked = linear_weights(theirs)
    assert all(torch.equal(w, unpacked[n]) for n, w in linear_weights(ours(target)).items())
    assert not torch.equal(logits(theirs), logits(ours(made(family, "dense"))))


GRID_STEPS = [
    "awq@2bit",
    "awq@3bit,group_size=64",
    "awq@8bit,symmetric=true",
    "awq@4bit,group_size=-1",
]


@pytest.mark.parametrize("spelling", GRID_STEPS)
def test_every_linear_is_stored_as_was_asked_for(spelling, made):
    target, step = made("llama", f"{spelling},n_grid=4"), parse_step(spelling)
    settings = methods.find("awq").settings(step)
    expected = Quantized(step.level.bits, settings.group_size, settings.symmetric, 32)
    layers = Description.read(target).linears
    assert set(layers) == set(linear_weights(ours(made("llama", "dense"))))
    assert {layer.stored for layer in layers.values()} == {expected}
    attention = attention_of(target)
    theirs = AutoModelForCausalLM.from_pretrained(target, attn_implementation=attention).eval()
    assert torch.equal(logits(ours(target)), logits(theirs))


NORMS = {"input_layernorm.weight", "post_attention_layernorm.weight"}


@pytest.mark.parametrize(
    ("family", "changed"),
    [
        ("llama", NORMS),
        # The values' bias is scaled with its linear, whose output o_proj sees.
        ("qwen2", NORMS | {"self_attn.v_proj.bias"}),
        ("gemma2", {"input_layernorm.weight", "pre_feedforward_layernorm.weight"}),
        ("gemma3", {"pre_feedforward_layernorm.weight"}),
    ],
)
def test_beside_the_linears_only_what_feeds_them_changes(family, changed, made):
    assert others_changed(made(family, "dense"), made(family, "awq@4bit")) == changed


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision(dtype, made):
    target = made("llama", "awq@4bit,n_grid=4", dtype=dtype)
    kinds = {t.dtype for t in load_file(target / "model.safetensors").values()}
    assert kinds == {getattr(torch, dtype), torch.int32, torch.int64}
    assert {layer.stored.scale_bits for layer in Description.read(target).linears.values()} == {16}
    theirs = AutoModelForCausalLM.from_pretrained(target).eval()
    assert torch.equal(logits(ours(target, getattr(torch, dtype))), logits(theirs))


@pytest.mark.parametrize("symmetric", ["true", "false"])
def test_zeros_of_a_pruned_model_stay(symmetric, made):
    spelling = f"awq@3bit,n_grid=4,symmetric={symmetric}"
    parent, child = made("llama", "magnitude@2of4"), made("llama", spelling, "magnitude@2of4")
    after = linear_weights(ours(child))
    zeros = {name: weight == 0 for name, weight in linear_weights(ours(parent)).items()}
    assert all((after[name][zero] == 0).all() for name, zero in zeros.items())
    assert not Description.read(child).zeros_lost
    assert Description.read(child).achieved.zeros == Description.read(parent).achieved.zeros


def test_same_job_spec_same_bytes_and_nothing_left_behind(made, windows, tmp_path):
    target = made("llama", "awq@4bit")
    again = run(made("llama", "dense"), tmp_path / "again", "awq@4bit", windows)
    assert hashes(again) == hashes(target)
    assert set(hashes(target)) == {
        "config.json",
        "generation_config.json",
        "meltpoint.json",
        "model.safetensors",
    }
    assert str(target.parent) not in (target / "config.json").read_text()


def test_it_loads_in_a_fresh_process(made):
    target = made("llama", "awq@4bit")
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(target)!r}).eval()\n"
        "tokens = torch.tensor([[int(t) for t in sys.argv[1:]]])\n"
        "print(model(tokens).logits.sum(dtype=torch.float64).item())"
    )
    tokens = random_tokens(1, 20, seed=2)
    given = [str(t) for t in tokens[0].tolist()]
    done = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, check=True
    )
    with torch.no_grad():
        expected = ours(target)(tokens).logits.sum(dtype=torch.float64).item()
    assert float(done.stdout.splitlines()[-1]) == pytest.approx(expected, rel=1e-6)


def test_the_config_is_what_vllm_reads(made):
    target = made("qwen2", "awq@4bit")
    given = json.loads((target / "config.json").read_text())
    quantization = given["quantization_config"]
    assert given["architectures"] == ["Qwen2ForCausalLM"]
    assert given["tie_word_embeddings"] is True
    assert quantization["quant_method"] == "compressed-tensors"
    assert quantization["quantization_status"] == "compressed"
    assert quantization["ignore"] == ["lm_head"]
    assert quantization["config_groups"]["group_0"]["targets"] == ["Linear"]
    assert not any(key.startswith("lm_head") for key in index(target))
    packed = load_file(target / "model.safetensors")["model.layers.0.mlp.up_proj.weight_packed"]
    assert packed.shape == (512, 256 * 4 // 32)
    assert packed.dtype == torch.int32


@pytest.mark.parametrize("batch", [1, 2, "auto"])
def test_the_model_sees_the_windows_and_nothing_else(batch, made, windows, tmp_path, monkeypatch):
    seen, plain = [], _llmcompressor.load

    def note(_, given):
        # The library traces the model on meta tensors, which see no weights and hold no tokens.
        if given[0].device.type != "meta":
            seen.append(given[0])

    def watched(source, context):
        model = plain(source, context)
        model.get_input_embeddings().register_forward_pre_hook(note)
        return model

    monkeypatch.setattr(_llmcompressor, "load", watched)
    run(made("llama", "dense"), tmp_path / "a", "awq@4bit,n_grid=4", windows, batch=batch)
    given = torch.from_numpy(np.load(windows)).long()
    # To collect and to hand on; around it the first window, to see that the model is as it was.
    expected = torch.cat([given[:1], given, given, given[:1]])
    assert torch.equal(torch.cat(seen), expected)
    sizes = [len(x) for x in seen[1:-1]]
    assert sizes == {1: [1] * 10, 2: [2, 2, 1] * 2, "auto": [5, 5]}[batch]


@pytest.mark.parametrize(
    ("family", "spelling", "reason"),
    [
        (
            "llama",
            "awq@4bit,group_size=96",
            "multiples of 96; model.layers.0.self_attn.q_proj has 256",
        ),
        ("llama", "awq@6bit", "awq takes 2, 3, 4 or 8 bits, not 6"),
    ],
)
def test_what_it_cannot_do_is_not_applicable(family, spelling, reason, made):
    target = made(family, spelling)
    assert [f.name for f in target.iterdir()] == ["meltpoint.json"]
    assert Description.read(target).status == "not_applicable"
    assert reason in Description.read(target).reason


def test_the_spelling_of_its_settings():
    method = methods.find("awq")
    step = parse_step("awq@4bit,group_size=0,n_grid=20,duo_scaling=both")
    assert str(method.canonical(step)) == "awq@4bit,duo_scaling=both,group_size=-1"
    with pytest.raises(MeltpointError, match="n_grid"):
        method.settings(parse_step("awq@4bit,n_grid=3"))


def test_linears_left_as_they_were_are_found_out(made):
    names = list(Description.read(made("llama", "awq@4bit")).linears)
    with pytest.raises(MeltpointError, match=f"left {names[0]} unquantised"):
        _llmcompressor.check_stored(made("llama", "dense"), names, 4)
    with pytest.raises(MeltpointError, match="stored 4 bits where 3 were asked for"):
        _llmcompressor.check_stored(made("llama", "awq@4bit"), names, 3)
    _llmcompressor.check_stored(made("llama", "awq@4bit"), names, 4)


def test_weights_on_the_grid_keep_a_scale_of_one(made):
    """As after awq@4bit and a short fine-tuning: any other scale would move them off the grid."""
    again = made("llama", "awq@4bit", parent="rtn@4bit")
    assert Description.read(again).status == "ok"
    assert not others_changed(made("llama", "rtn@4bit"), again)


@pytest.fixture(scope="module")
def trained(place):
    """A trained model's folder, windows of its own kind of text, and a file to calibrate on."""
    origin = DATA / "models/tinystories-656K"
    if not origin.exists():
        pytest.skip("the trained models (shared/data) are not here")
    folder = shutil.copytree(origin, place / "trained")
    write_description(folder, verify(folder))
    stories = json.loads((DATA / "corpora/tinystories/tinystories_1000.json").read_text())
    ids = AutoTokenizer.from_pretrained(folder)(" ".join(map(str, stories[:300])))["input_ids"]
    texts = torch.tensor(ids[: 80 * 128]).view(80, 128)
    np.save(place / "stories.npy", texts[64:].numpy())
    return folder, texts[:64], place / "stories.npy"


def perplexity(folder, texts):
    model = ours(folder)
    with torch.no_grad():
        found = model(texts).logits[:, :-1].flatten(0, 1)
    return math.exp(torch.nn.functional.cross_entropy(found, texts[:, 1:].flatten()))


def test_a_trained_model_loses_less_than_by_rounding_alone(trained, tmp_path):
    folder, texts, windows = trained
    dense = perplexity(folder, texts)
    found = {
        step: perplexity(run(folder, tmp_path / step, step, windows), texts) / dense - 1
        for step in ("awq@8bit", "awq@3bit", "rtn@3bit")
    }
    assert abs(found["awq@8bit"]) < 0.005
    assert 0 < found["awq@3bit"] < found["rtn@3bit"]
