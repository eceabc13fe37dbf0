"""Models' own code: what blocks return, and what goes wrong in them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPTJConfig,
    OpenAIGPTConfig,
    ProphetNetConfig,
)

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.engines import open_engine
from meltpoint.model import empty_model
from meltpoint.model.base_models import link
from meltpoint.model.block_walk import Walk
from tests.support.steps import run
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")
SIZES = {"vocab_size": 96, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
TUPLES = {
    "falcon": FalconConfig(
        vocab_size=96, hidden_size=64, num_hidden_layers=2, num_attention_heads=4
    ),
    "gptj": GPTJConfig(**SIZES, rotary_dim=8),
    "gpt": OpenAIGPTConfig(**SIZES),
}


def save(folder, config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", TUPLES)
def test_blocks_that_return_more_than_a_tensor_are_walked(name, tmp_path):
    model = save(tmp_path / "source", TUPLES[name])
    link(tmp_path / "source", tmp_path / "base", "models.m")
    ids = random_tokens(4, 24)
    np.save(tmp_path / "windows.npy", ids.numpy())
    with torch.no_grad():
        logits = model(ids).logits[:, :-1]
    expected = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").numpy()
    with open_engine(tmp_path / "base", Compute(device="cpu", stream=True)) as engine:
        assert np.allclose(engine.nll(ids.numpy()), expected, atol=1e-4)
    target = run(tmp_path / "base", tmp_path / "pruned", "wanda@0.5", tmp_path / "windows.npy")
    assert Description.read(target).achieved.zeros == pytest.approx(0.5, abs=0.01)


def test_a_linear_that_is_not_called_is_named(tmp_path):
    base = save_model(tmp_path, "llama")
    walk = Walk(Reader(base, torch.float32, CPU), random_tokens(2, 16), Compute(device="cpu"))
    walk.embed()
    block = walk.blocks[0]
    block.spare = torch.nn.Linear(4, 4)
    empty_model.fill(walk.model, walk.reader.read(walk.names(1)))
    names = [n for n in walk.names(0) if "spare" not in n]
    empty_model.fill(walk.model, walk.reader.read(names))
    with torch.no_grad(), pytest.raises(NotApplicable, match="spare of block 0 was not called"):
        walk.collect(0, ("norm",))


def test_an_exception_in_a_block_is_a_sentence_with_its_traceback_in_the_log(
    tmp_path, monkeypatch, caplog
):
    from transformers.models.llama.modeling_llama import LlamaMLP

    base = save_model(tmp_path, "llama")
    ids = random_tokens(2, 16)

    def broken(*_):
        raise IndexError("no such row")

    monkeypatch.setattr(LlamaMLP, "forward", broken)
    for stream in (True, False):
        caplog.clear()
        with (
            open_engine(base, Compute(device="cpu", stream=stream)) as engine,
            pytest.raises(
                MeltpointError, match="LlamaForCausalLM cannot be run: IndexError: no such"
            ),
        ):
            engine.nll(ids.numpy())
        assert "Traceback" in caplog.text


def test_hidden_states_of_another_shape_are_refused(tmp_path):
    config = ProphetNetConfig(
        vocab_size=96,
        hidden_size=64,
        num_encoder_attention_heads=4,
        num_decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        num_decoder_layers=2,
        num_encoder_layers=2,
    )
    save(tmp_path / "source", config)
    with pytest.raises(MeltpointError, match=r"\[texts, tokens, width\] was expected"):
        link(tmp_path / "source", tmp_path / "base", "models.m")
