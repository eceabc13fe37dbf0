"""Attention is what the config asks for, whatever transformers would take."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, Gemma2Config

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.methods import registry
from meltpoint.model import empty_model
from meltpoint.model.base_models import verify, write_description
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def capped(tmp_path_factory):
    """Gemma 2 with queries and keys so large that the cap on their products counts."""
    folder = tmp_path_factory.mktemp("capped")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "vocab_size": 96}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    more = {"query_pre_attn_scalar": 16, "sliding_window": 128, "max_position_embeddings": 256}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(Gemma2Config(**sizes, **heads, **more))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            scale = 2.4 if "q_proj" in name or "k_proj" in name else 0.12
            parameter.data = torch.randn_like(parameter) * scale
    model.save_pretrained(folder)
    write_description(folder, verify(folder))
    return folder


def losses(model, ids):
    with torch.no_grad():
        logits = model(ids).logits[:, :-1].flatten(0, 1)
    return F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")


def test_a_cap_on_attention_scores_is_kept(capped):
    ids = random_tokens(8, 96)
    plain = {
        name: losses(AutoModelForCausalLM.from_pretrained(capped, attn_implementation=name), ids)
        for name in ("eager", "sdpa")
    }
    assert (plain["sdpa"] - plain["eager"]).abs().max() > 0.05
    ours = losses(load(capped, torch.float32, CPU), ids)
    torch.testing.assert_close(ours, plain["eager"], rtol=0, atol=1e-4)


def test_a_walk_keeps_the_cap(capped):
    ids = random_tokens(2, 64)
    walk = Walk(Reader(capped, torch.float32, CPU), ids, Compute(device="cpu"))
    eager = AutoModelForCausalLM.from_pretrained(capped, attn_implementation="eager").model
    with torch.no_grad():
        walk.embed()
        for index in range(len(walk.blocks)):
            empty_model.fill(walk.model, walk.reader.read(walk.names(index)))
            walk.advance(index)
        hidden = walk.model.model.norm.__class__.forward(eager.norm, walk.hidden)
        torch.testing.assert_close(hidden, eager(ids).last_hidden_state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "expected"), [("gemma2", "eager"), ("gemma3", "sdpa")])
def test_only_a_model_that_needs_it_is_run_eagerly(family, expected, tmp_path):
    assert empty_model.attention_of(save_model(tmp_path, family)) == expected


def test_libraries_load_the_attention_that_is_asked_for(capped, monkeypatch):
    pytest.importorskip("llmcompressor")
    from meltpoint.evaluations.engines import kernels
    from meltpoint.methods import _llmcompressor
    from meltpoint.methods.contract import Context

    context = Context(random_tokens(2, 32), Compute(device="cpu"))
    loaded = [_llmcompressor.load(capped, context), kernels.load(capped, context.compute)]
    if "gptq" in registry():
        gptq = pytest.importorskip("meltpoint.methods._gptq_model")
        loaded.append(gptq.load(capped, {"bits": 4, "group_size": 32}, context.compute).model)
    assert [model.config._attn_implementation for model in loaded] == ["eager"] * len(loaded)
