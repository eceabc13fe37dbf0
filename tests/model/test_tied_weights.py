"""Tied weights that a checkpoint stores apart, and tensors that no model reads."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, CamembertConfig

from meltpoint.checkpoints.description import Description
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.size import size
from meltpoint.model.base_models import link
from meltpoint.model.load import load
from tests.support.specs import compress_spec
from tests.support.tiny_models import COMMON, random_tokens, save_model

HEAD, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"
CPU = torch.device("cpu")
DECODER = {key: value for key, value in COMMON.items() if key != "num_key_value_heads"}


def store(folder, change) -> dict:
    """Rewrites a checkpoint's tensors by `change`, a function of their dictionary."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return tensors


def add_head(tensors: dict) -> None:
    draw = torch.Generator().manual_seed(1)
    embeddings = tensors[EMBEDDINGS]
    tensors[HEAD] = embeddings + 0.02 * torch.randn(embeddings.shape, generator=draw)


def logits(model):
    with torch.no_grad():
        return model.eval()(random_tokens(1, 12)).logits


@pytest.fixture
def untied(tmp_path):
    """A Qwen2 whose config says tied, with a head of its own, linked."""
    source = save_model(tmp_path / "source", "qwen2")
    store(source, add_head)
    link(source, tmp_path / "base", "models.m")
    return source, tmp_path / "base"


def test_a_head_of_its_own_is_used(untied):
    source, base = untied
    theirs = logits(AutoModelForCausalLM.from_pretrained(source))
    ours = logits(load(base, torch.float32, CPU))
    assert torch.equal(ours, theirs)
    tensors = load_file(base / "model.safetensors")
    store(source, lambda found: found.pop(HEAD))
    tied = logits(AutoModelForCausalLM.from_pretrained(source))
    assert (tied - theirs).abs().max() > 1e-2
    assert HEAD in tensors


@pytest.mark.parametrize("step", ["magnitude@0.5", "rtn@4bit", "nf4"])
def test_checkpoints_made_of_it_are_untied(step, untied, tmp_path):
    if step == "nf4":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    source, base = untied
    compress(base, tmp_path / "t", compress_spec(step, {}), [], Compute(device="cpu"))
    assert json.loads((tmp_path / "t/config.json").read_text())["tie_word_embeddings"] is False
    head = load_file(source / "model.safetensors")[HEAD]
    assert torch.equal(load(tmp_path / "t", torch.float32, CPU).lm_head.weight, head)
    if step == "magnitude@0.5":
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "t")
        assert torch.equal(logits(load(tmp_path / "t", torch.float32, CPU)), logits(theirs))


def test_a_head_that_is_stored_twice_counts_once(tmp_path):
    plain = save_model(tmp_path / "plain", "qwen2")
    source = save_model(tmp_path / "source", "qwen2")

    def add(tensors):
        tensors[HEAD] = tensors[EMBEDDINGS].clone()
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)

    store(source, add)
    link(source, tmp_path / "base", "models.m")
    config = json.loads((tmp_path / "base/config.json").read_text())
    assert config["tie_word_embeddings"] is True
    assert Description.read(tmp_path / "base").unused == [
        HEAD,
        "model.layers.0.self_attn.rotary_emb.inv_freq",
    ]
    dense, expected = size(tmp_path / "base"), size(plain)
    assert {k: v for k, v in dense.items() if k != "bytes"} == {
        k: v for k, v in expected.items() if k != "bytes"
    }
    # The file's header is longer.
    assert 0 <= dense["bytes"] - expected["bytes"] < 400
    spec = compress_spec("magnitude@0.5", {})
    compress(tmp_path / "base", tmp_path / "t", spec, [], Compute(device="cpu"))
    assert size(tmp_path / "t")["parameters"] == dense["parameters"]


BIAS, TIED_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"


def test_any_tied_pair_is_used_as_it_is_stored(tmp_path):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(BertConfig(**DECODER, is_decoder=True))
    model.save_pretrained(tmp_path / "source")

    def separate(tensors):
        weight = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = weight.clone()
        tensors[BIAS] = torch.randn(96)
        tensors[TIED_BIAS] = torch.randn(96)

    store(tmp_path / "source", separate)
    link(tmp_path / "source", tmp_path / "base", "models.m")
    theirs = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "source"))
    assert torch.allclose(logits(load(tmp_path / "base", torch.float32, CPU)), theirs, atol=1e-6)
    store(tmp_path / "source", lambda tensors: tensors.pop("cls.predictions.decoder.weight"))
    with pytest.raises(MeltpointError, match="store all tied weights, or each once"):
        link(tmp_path / "source", tmp_path / "base", "models.m")


def test_weights_that_are_tied_the_other_way_round_are_filled(tmp_path):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CamembertConfig(**DECODER, is_decoder=True))
    model.save_pretrained(tmp_path / "source")
    link(tmp_path / "source", tmp_path / "base", "models.m")
    ours = logits(load(tmp_path / "base", torch.float32, CPU))
    assert torch.allclose(ours, logits(model), atol=1e-6)
