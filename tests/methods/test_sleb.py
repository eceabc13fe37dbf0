"""SLEB: the official code's numbers, what its search costs, and what it refuses."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.methods import _sleb_search
from meltpoint.methods.contract import Context
from meltpoint.model.load import load
from tests.support import structured_golden as golden
from tests.support.block_chains import (
    CPU,
    WINDOWS,
    BlockPasses,
    deep_model,
    logits_of,
    reason,
    run_chain,
    searched,
)
from tests.support.steps import weights
from tests.support.tiny_models import random_tokens, save_model


@pytest.mark.parametrize(("step", "row"), golden.rows_of("sleb").items())
def test_it_is_the_official_code(step, row, tmp_path):
    folder = golden.checkpoint(step, tmp_path / "checkpoint")
    count, found = len(row["removed"]), searched(folder)
    assert golden.hash_of({"blocks": found["order"][:count]}) == row["cut_sha256"]
    for losses, official in zip(found["losses"], row["losses"], strict=False):
        assert losses == pytest.approx(official, rel=1e-5)
    assert golden.perplexity(folder) == pytest.approx(row["ppl"], rel=1e-4)
    assert Description.read(folder).shapes.parameters == golden.parameters_of(row)


def official_losses(folder, removed):
    """Losses without one block more, as the official code has them: layer by layer deleted."""
    losses = {}
    depth = load(folder, torch.float32, CPU).config.num_hidden_layers
    left = [index for index in range(depth) if index not in removed]
    for candidate in left[1:-1]:
        model = load(folder, torch.float32, CPU)
        body = getattr(model.base_model, "decoder", model.base_model)
        kept = [index for index in left if index != candidate]
        body.layers = torch.nn.ModuleList(body.layers[index] for index in kept)
        model.config.num_hidden_layers = len(kept)
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = [model.config.layer_types[index] for index in kept]
        total = 0.0
        for window in WINDOWS:
            logits = model(window[None], use_cache=False).logits[0, :-1]
            total += torch.nn.functional.cross_entropy(logits, window[1:]) * len(window)
        losses[str(candidate)] = total.item()
    return losses


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "opt", "gemma3"])
def test_losses_are_those_of_models_without_a_block(family, tmp_path):
    base = deep_model(tmp_path, family, blocks=6)
    found = searched(run_chain(base, "sleb@0.5"))
    assert len(found["order"]) == 4
    for step, (block, losses) in enumerate(zip(found["order"], found["losses"], strict=True)):
        with torch.no_grad():
            expected = official_losses(base, found["order"][:step])
        assert losses == pytest.approx(expected, rel=1e-5)
        assert block == int(min(losses, key=losses.__getitem__))


def test_a_checkpoint_is_an_ordinary_folder_of_the_blocks_that_are_left(tmp_path):
    base = deep_model(tmp_path)
    folder = run_chain(base, "sleb@0.5")
    removed = searched(folder)["order"][:4]
    left = [index for index in range(8) if index not in removed]
    before, after = weights(base), weights(folder)
    for new, old in enumerate(left):
        prefix = f"model.layers.{new}."
        for name in (n for n in after if n.startswith(prefix)):
            assert torch.equal(
                after[name], before[f"model.layers.{old}.{name.removeprefix(prefix)}"]
            )
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 4
    assert Description.read(folder).achieved.parameters == pytest.approx(0.5)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    with torch.no_grad():
        assert torch.equal(model(WINDOWS).logits, logits_of(folder))


@pytest.mark.parametrize(("blocks", "share"), [(5, 0.8), (32, 0.55)])
def test_its_search_takes_fewer_block_passes_than_the_official_one(
    blocks, share, monkeypatch, tmp_path
):
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": blocks}
    base = save_model(tmp_path / "base", "llama", **small)
    windows = random_tokens(2, 8)
    passes = BlockPasses(monkeypatch, len(windows))
    found = _sleb_search.search(base, Context(windows, Compute(device="cpu")))
    # Each removal from n blocks tries n - 2 models of n - 1 blocks.
    official = sum((n - 2) * (n - 1) for n in range(3, blocks + 1))
    assert len(found["order"]) == blocks - 2
    assert passes.count <= share * official


def test_groups_of_windows_have_the_losses_of_all_at_once(tmp_path):
    base = deep_model(tmp_path)
    expected, found = (
        _sleb_search.search(base, Context(WINDOWS, Compute(device="cpu", batch=2, memory=memory)))
        for memory in ("auto", 1e-9)
    )
    assert found["order"] == expected["order"]
    for losses, whole in zip(found["losses"], expected["losses"], strict=True):
        assert losses == pytest.approx(whole, rel=1e-6)


def test_a_killed_search_goes_on_where_it_was(monkeypatch, tmp_path):
    base = deep_model(tmp_path)
    context = Context(WINDOWS, Compute(device="cpu"), resume=tmp_path / "resume")
    expected = _sleb_search.search(base, Context(WINDOWS, Compute(device="cpu")))
    losses, asked = _sleb_search.Trials.losses, []

    def killed_at_the_third(trials):
        asked.append(len(trials.alive))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return losses(trials)

    monkeypatch.setattr(_sleb_search.Trials, "losses", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        _sleb_search.search(base, context)
    found = _sleb_search.search(base, context)
    assert asked == [8, 7, 6, 6, 5, 4, 3]
    assert found["order"] == expected["order"]


def test_all_levels_and_meanings_read_one_search():
    method = methods.find("sleb")
    steps = ("sleb@0.1", "sleb@0.7", "sleb@0.3,of=parameters")
    assert {str(method.search_step(parse_step(step))) for step in steps} == {"sleb"}


@pytest.mark.parametrize(
    ("level", "count"), [("0.07", 1), ("0.1", 1), ("0.3", 2), ("0.3125", 3), ("0.8", 6)]
)
def test_the_number_of_blocks_is_rounded_half_up(level, count, tmp_path):
    folder = run_chain(deep_model(tmp_path), f"sleb@{level}")
    assert len(Description.read(folder).shapes.blocks) == 8 - count


def test_of_parameters_is_the_nearest_total(tmp_path):
    base = deep_model(tmp_path)
    folder = run_chain(base, "sleb@0.3+sleb@0.6,of=parameters")
    description = Description.read(folder)
    assert description.requested == {"parameters": 0.6}
    assert description.achieved.parameters == pytest.approx(0.625)
    assert reason(base, "sleb@0.05,of=parameters") == (
        "sleb@0.05,of=parameters removes 0 of 8 blocks"
    )
    assert "the nearest that it can is 0.750" in reason(base, "sleb@0.9,of=parameters")


@pytest.mark.parametrize(
    ("blocks", "step", "sentence"),
    [
        (4, "sleb@0.1", "sleb@0.1 removes 0 of 4 blocks"),
        (5, "sleb@0.8", "sleb@0.8 would remove 4 of 5 blocks, and sleb can remove 3 at most"),
        (1, "sleb@0.5", "sleb keeps the first and the last block: it can remove none of the model's 1"),
        (2, "sleb@0.5", "sleb keeps the first and the last block: it can remove none of the model's 2"),
        (3, "sleb@0.8", "sleb@0.8 would remove 2 of 3 blocks, and sleb can remove 1 at most"),
        (3, "sleb@0.4", None),
        (3, "sleb@0.3,of=parameters", None),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_a_sentence(blocks, step, sentence, tmp_path):
    assert reason(deep_model(tmp_path, blocks=blocks), step) == sentence


def test_losses_that_are_not_finite_do_not_count():
    assert _sleb_search._least({1: float("nan"), 2: 3.0, 3: 3.0, 4: float("inf")}, "float16") == 2
    with pytest.raises(MeltpointError, match=r"set compute\.dtype to float32"):
        _sleb_search._least({1: float("nan"), 2: float("inf")}, "float16")
