"""The pass that a base model makes when it is linked: it must be a decoder that can be run."""

import json

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    ElectraConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPTJConfig,
    MambaConfig,
    RobertaConfig,
)

from meltpoint.errors import MeltpointError
from meltpoint.model.base_models import link
from meltpoint.model.load import load
from tests.support.tiny_models import COMMON, CONFIGS, random_tokens, save_model

CPU = torch.device("cpu")
ENCODER = {key: value for key, value in COMMON.items() if key != "num_key_value_heads"}
LOOKING_AHEAD = {
    "bert": BertConfig(**ENCODER),
    "roberta": RobertaConfig(**ENCODER),
    "electra": ElectraConfig(**ENCODER, embedding_size=64),
    "gemma 3": Gemma3TextConfig(**COMMON, head_dim=16, use_bidirectional_attention=True),
}
DECODERS = {
    "bert": BertConfig(**ENCODER, is_decoder=True),
    "falcon": FalconConfig(
        vocab_size=96, hidden_size=64, num_hidden_layers=2, num_attention_heads=4
    ),
    "gpt-j": GPTJConfig(
        vocab_size=96, n_embd=64, n_layer=2, n_head=4, n_positions=64, rotary_dim=8
    ),
    "mamba": MambaConfig(vocab_size=96, hidden_size=64, num_hidden_layers=2, state_size=8),
    "parallel": Gemma3TextConfig(**COMMON, head_dim=16, tie_word_embeddings=False),
}


def save(folder, config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    return model


@torch.no_grad()
def moved(model) -> float:
    """How far another last token moves the first token's logits, in plain transformers."""
    ids = random_tokens(1, 8)
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % 90
    return (model(ids).logits[0, 0] - model(other).logits[0, 0]).abs().max().item()


@pytest.mark.parametrize("name", LOOKING_AHEAD)
def test_models_that_look_ahead_are_refused(name, tmp_path):
    assert moved(save(tmp_path / "source", LOOKING_AHEAD[name])) > 1e-4
    with pytest.raises(
        MeltpointError, match=r"^models\.m: \S+/source: \w+ looks ahead: another last"
    ):
        link(tmp_path / "source", tmp_path / "base", "models.m")
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_are_linked(name, tmp_path):
    model = save(tmp_path / "source", DECODERS[name])
    assert moved(model) == 0
    link(tmp_path / "source", tmp_path / "base", "models.m")
    ids = random_tokens(2, 12)
    with torch.no_grad():
        ours = load(tmp_path / "base", torch.float32, CPU)(ids).logits
        assert torch.allclose(ours, model(ids).logits, atol=1e-6)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_pass_does_not_depend_on_the_stored_dtype(family, dtype, tmp_path):
    base = save_model(tmp_path / "model", family)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    model.save_pretrained(tmp_path / "source")
    link(tmp_path / "source", tmp_path / "base", "models.m")
    config = json.loads((tmp_path / "base/config.json").read_text())
    assert config["dtype"] == dtype


def test_a_model_that_cannot_run_is_refused(tmp_path, monkeypatch, caplog):
    base = save_model(tmp_path / "source", "llama")
    from transformers.models.llama.modeling_llama import LlamaMLP

    def broken(*_):
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(LlamaMLP, "forward", broken)
    with pytest.raises(
        MeltpointError, match="LlamaForCausalLM cannot be run: RuntimeError: no kernel for this"
    ):
        link(base, tmp_path / "base", "models.m")
    assert "Traceback" in caplog.text
