"""A generation config that transformers reads and refuses to save is carried on as it is."""

import json

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from meltpoint import methods
from meltpoint.checkpoints.description import Description
from meltpoint.model.base_models import link
from tests.support.steps import run, spell, spellings
from tests.support.tiny_models import random_tokens, save_model

# As Vicuna has it: a temperature without sampling.
CONFIG = {"temperature": 0.9, "top_p": 0.6, "max_length": 64}
TEMPLATES = "additional_chat_templates"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vicuna")
    # Widths that fill the groups of all methods, and of GGUF's blocks.
    sizes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
    source = save_model(folder / "source", "llama", **sizes)
    (source / "generation_config.json").write_text(json.dumps(CONFIG))
    (source / TEMPLATES).mkdir()
    (source / TEMPLATES / "tool.jinja").write_text("{{ messages }}")
    with pytest.raises(ValueError, match="temperature"):
        AutoModelForCausalLM.from_pretrained(source).save_pretrained(folder / "plain")
    link(source, folder / "base", "models.m")
    return folder / "base"


@pytest.mark.parametrize("method", methods.registry().values(), ids=lambda method: method.name)
def test_it_is_carried_on(method, base, tmp_path):
    np.save(tmp_path / "windows.npy", random_tokens(4, 32).numpy())
    level = next(
        (x for x in spellings(method) if x in ("0.5", "4bit", "q8_0")), spellings(method)[0]
    )
    target = run(base, tmp_path / "t", spell(method.name, level), tmp_path / "windows.npy")
    description = Description.read(target)
    if description.status != "ok":
        pytest.skip(description.reason)
    assert json.loads((target / "generation_config.json").read_text()) == CONFIG
    assert (target / TEMPLATES / "tool.jinja").read_text() == "{{ messages }}"
