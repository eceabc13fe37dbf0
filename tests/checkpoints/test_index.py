"""Which weights a folder holds, where it holds more than one set: those that transformers reads."""

import json

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from meltpoint.checkpoints.index import INDEX, count_parameters
from meltpoint.evaluations.size import size
from meltpoint.model.base_models import link
from meltpoint.model.load import load
from tests.support.tiny_models import random_tokens, save_model

NORM = "model.norm.weight"


def logits(model):
    with torch.no_grad():
        return model(random_tokens(1, 12)).logits


def assert_as_transformers(folder, tmp_path):
    """Meltpoint's model is transformers' own, of the folder and of the link to it."""
    link(folder, tmp_path / "base", "models.m")
    theirs = logits(AutoModelForCausalLM.from_pretrained(folder).eval())
    for place in (folder, tmp_path / "base"):
        assert torch.equal(logits(load(place, torch.float32, torch.device("cpu"))), theirs)
    linked = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    assert torch.equal(logits(linked), theirs)


def write_shards(folder, shards: list[dict], weight_map: dict | None = None):
    """Writes tensors as shards and an index over them."""
    names = [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    for name, tensors in zip(names, shards, strict=True):
        save_file(tensors, folder / name, metadata={"format": "pt"})
    own = {key: name for name, tensors in zip(names, shards, strict=True) for key in tensors}
    index = {"metadata": {}, "weight_map": own | (weight_map or {})}
    (folder / INDEX).write_text(json.dumps(index))


def test_a_stale_index_does_not_win_over_the_one_file(tmp_path):
    folder = save_model(tmp_path / "source", "llama")
    other = {key: torch.randn_like(x) for key, x in load_file(folder / "model.safetensors").items()}
    write_shards(folder, [other])
    assert_as_transformers(folder, tmp_path)
    assert sorted(f.name for f in (tmp_path / "base").iterdir() if "model" in f.name) == [
        "model.safetensors"
    ]


def halves(folder) -> list[dict]:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    keys = sorted(tensors)
    return [{k: tensors[k] for k in keys[:8]}, {k: tensors[k] for k in keys[8:]}]


def test_an_index_that_names_the_wrong_shards_is_not_believed(tmp_path):
    folder = save_model(tmp_path / "source", "llama")
    shards = halves(folder)
    first, last = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    swapped = dict.fromkeys(shards[0], last) | dict.fromkeys(shards[1], first)
    write_shards(folder, shards, swapped)
    assert_as_transformers(folder, tmp_path)


def test_of_a_tensor_in_two_shards_the_last_counts_once(tmp_path):
    folder = save_model(tmp_path / "source", "llama")
    dense, parameters = size(folder), count_parameters(folder)
    shards = halves(folder)
    wrong = {NORM: torch.full((64,), 3.0)}
    write_shards(folder, [shards[0] | wrong, shards[1] | {NORM: shards[1][NORM]}])
    assert_as_transformers(folder, tmp_path)
    assert count_parameters(folder) == parameters
    counted = size(tmp_path / "base")
    assert counted["parameters"] == dense["parameters"]


def test_shards_of_another_model_beside_it_are_not_linked(tmp_path):
    folder = save_model(tmp_path / "source", "llama")
    save_file({NORM: torch.ones(64)}, folder / "consolidated.safetensors")
    assert_as_transformers(folder, tmp_path)
    assert not (tmp_path / "base/consolidated.safetensors").exists()
