"""Configs that are not as they should be: what plain transformers runs is run, the rest refused."""

import json

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM

from meltpoint.errors import MeltpointError
from meltpoint.model.base_models import link
from meltpoint.model.configs import stored_dtype
from meltpoint.model.load import load
from tests.support.tiny_models import random_tokens, save_model


def change(folder, **keys):
    """Changes the config of a checkpoint; None takes a key out."""
    config = json.loads((folder / "config.json").read_text()) | keys
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("name", ["torch.float32", "torch.bfloat16", "fp32"])
def test_other_names_of_dtypes_are_read(key, name, tmp_path):
    source = save_model(tmp_path / "source", "llama")
    change(source, **{"dtype": None, key: name})
    link(source, tmp_path / "base", "models.m")
    theirs = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    ours = load(tmp_path / "base", torch.float32, torch.device("cpu"))
    # Without a dtype given transformers reads the linked folder alone.
    linked = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    ids = random_tokens(1, 12)
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
        assert torch.allclose(linked(ids).logits.float(), theirs(ids).logits, atol=1e-2)
    assert stored_dtype(source) == (torch.bfloat16 if "b" in name else torch.float32)


# What transformers raises for one wrong config or another.
KINDS = (ArithmeticError, AssertionError, ImportError, KeyError, StrictDataclassError, ValueError)
WRONG = [
    (
        "qwen2",
        {"layer_types": ["full_attention"] * 3},
        "must be equal to the number of `layer_types`",
    ),
    (
        "llama",
        {"rope_scaling": {"type": "su"}},
        r"KeyError: 'su' \(rope_scaling.type in its config",
    ),
    ("llama", {"hidden_act": "swish2"}, r"KeyError: 'swish2' \(hidden_act in its config.json\)"),
    ("llama", {"hidden_size": "64"}, "Field 'hidden_size' expected int, got str"),
    ("llama", {"num_key_value_heads": 0}, "ZeroDivisionError"),
    ("llama", {"attn_implementation": "flash_attention_2"}, "ImportError: FlashAttention2"),
    ("llama", {"model_type": "unheard-of"}, "does not recognize this architecture"),
    ("llama", {"pad_token_id": 500}, "Padding_idx must be within num_embeddings"),
]


@pytest.mark.parametrize(("family", "keys", "message"), WRONG)
def test_configs_that_transformers_refuses_end_in_a_sentence(family, keys, message, tmp_path):
    source = save_model(tmp_path / "source", family)
    change(source, **keys)
    with pytest.raises(KINDS):
        AutoModelForCausalLM.from_pretrained(source)
    with pytest.raises(MeltpointError, match=message) as caught:
        link(source, tmp_path / "base", "models.m")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(
        f"models.m: {source}: no causal language model can be built: "
    )
