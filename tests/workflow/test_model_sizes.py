"""Sizes of models that are not fetched: the table that ships, the hint, what the hub says."""

import json
import re

import pytest
import yaml

from meltpoint.errors import MeltpointError
from meltpoint.study.model_sections import HubModel
from meltpoint.workflow import model_sizes
from meltpoint.workflow.model_sizes import (
    ModelSize,
    check_config,
    config_of,
    known_models,
    size_on_hub,
)
from tests.support.project import ROOT

REVISION = "0" * 40
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


@pytest.mark.parametrize("name", known_models())
def test_the_table_has_the_parameters_of_transformers_model(name):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    known = known_models()[name]
    facts = {key: value for key, value in known.config.items() if key != "model_type"}
    with torch.device("meta"):
        config = CONFIG_MAPPING[known.config["model_type"]](**facts)
        model = AutoModelForCausalLM.from_config(config)
    assert known.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert known.blocks == config.num_hidden_layers
    assert known.width == config.hidden_size
    block = (
        model.base_model.get_decoder() if hasattr(model.base_model, "decoder") else model.base_model
    )
    blocks = getattr(block, "layers", None) or block.h
    decoder = sum(parameter.numel() for parameter in blocks.parameters())
    assert known.decoder == pytest.approx(decoder, rel=0.01)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_the_table_has_every_model_of_the_shipped_studies(file):
    models = yaml.safe_load(file.read_text())["models"].values()
    assert {model["hub"] for model in models if "hub" in model} <= set(known_models())


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Answers in the hub's place, and counts the questions."""
    monkeypatch.chdir(tmp_path)
    size_on_hub.cache_clear()
    questions, answers = [], {"owner/name": ModelSize(123, {"hidden_size": 8})}

    def ask(repository, revision):
        questions.append(repository)
        return answers.get(repository)

    monkeypatch.setattr(model_sizes, "_size_in_cache", lambda *_: None)
    monkeypatch.setattr(model_sizes, "_ask", ask)
    yield questions
    size_on_hub.cache_clear()


def test_the_hub_is_asked_once_for_a_revision(hub, tmp_path):
    for _ in range(2):
        size = size_on_hub("owner/name", REVISION)
        assert (size.parameters, size.width) == (123, 8)
        size_on_hub.cache_clear()
    assert hub == ["owner/name"]
    kept = json.loads((tmp_path / model_sizes.ANSWERS).read_text())
    assert list(kept) == [f"owner/name@{REVISION}"]


def test_what_the_hub_does_not_say_is_asked_again_by_the_next_run(hub, tmp_path):
    assert size_on_hub("owner/other", REVISION) is None
    assert size_on_hub("owner/other", REVISION) is None
    assert hub == ["owner/other"]
    assert not (tmp_path / model_sizes.ANSWERS).exists()


def test_without_a_network_nothing_is_known_and_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert model_sizes._ask("owner/name", REVISION) is None
    assert model_sizes._size_in_cache("owner/name", REVISION) is None


def test_a_hint_is_a_number_of_parameters():
    assert HubModel(hub="owner/name", revision=REVISION, parameters=7.2e9).parameters == 7.2e9
    with pytest.raises(ValueError, match="greater than 0"):
        HubModel(hub="owner/name", revision=REVISION, parameters=0)


def test_numbers_of_each_block_count_by_their_mean():
    """Gemma 3n has an MLP's width for each block, OpenELM a number of heads."""
    size = ModelSize(
        99, {"hidden_size": 8, "intermediate_size": [16, 32], "num_attention_heads": [1, 3]}
    )
    assert (size.width, size.neurons, size.heads, size.blocks) == (8, 24, 2, None)
    assert ModelSize(99, {"hidden_size": "8", "vocab_size": None}).decoder == 99


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "has no config.json: a checkpoint is a folder with"),
        ("{", "config.json is no valid JSON: Expecting"),
        ("[]", "config.json is no JSON object"),
        ('{"text_config": []}', "config.json: text_config is no JSON object"),
        ('{"text_config": {"rope_scaling": "x"}}', "config.json: rope_scaling is no JSON object"),
        ('{"quantization_config": 0}', "config.json: quantization_config is no JSON object"),
        ('{"model_type": []}', "config.json: model_type is no text"),
    ],
)
def test_a_config_that_is_none_is_refused_before_anything_runs(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(MeltpointError, match=re.escape(sentence)):
        check_config(tmp_path)
    assert isinstance(config_of(tmp_path), dict)


def test_a_config_with_nothing_under_its_keys_is_one(tmp_path):
    content = {"hidden_size": 8, "text_config": None, "rope_scaling": None}
    (tmp_path / "config.json").write_text(json.dumps(content))
    check_config(tmp_path)
    assert config_of(tmp_path)["hidden_size"] == 8
