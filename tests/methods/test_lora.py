"""Fine-tuning: what is trained, on which text, what is kept, and that it can be killed."""

import json

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.adapter import FOLDER, adapter_of
from meltpoint.checkpoints.description import COST, Description, hash_weights
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.data.training_text import TrainingText
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.size import size
from meltpoint.methods._lora_settings import PRESETS, Settings
from meltpoint.model.load import load
from meltpoint.model.next_tokens import NO_TOKEN
from tests.support.low_rank import logits
from tests.support.specs import compress_spec
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model, save_windows

pytest.importorskip("peft")

from meltpoint.methods import _lora_adapters, _lora_examples, _lora_run, _lora_training

LORA = methods.find("lora")
CPU = torch.device("cpu")
# A Llama of two blocks learns something of it in a second.
QUICK = "lora,batch=2,length=16,lr=0.01"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lora")


@pytest.fixture(scope="module")
def base(folder):
    return save_model(folder / "base", "llama")


@pytest.fixture(scope="module")
def windows(folder):
    return save_windows(folder, 8, 16)


@pytest.fixture(scope="module")
def stream(folder):
    """A text that repeats itself: easy to learn."""
    path = folder / "stream.npy"
    np.save(path, np.tile(np.arange(40, dtype=np.int32), 20))
    return path


@pytest.fixture(scope="module")
def made(folder, base, windows):
    """The checkpoint of a chain, made once."""

    def make(chain):
        if not chain:
            return base
        prefix, _, step = chain.rpartition("+")
        target = folder / chain
        return target if target.exists() else run(make(prefix), target, step, windows)

    return make


def tune(parent, target, step, texts, **compute):
    """A fine-tuning on files of tokens, by their use."""
    values = LORA.settings(parse_step(step)).model_dump(mode="json")
    spec = compress_spec(step, values)
    compress(parent, target, spec, [], Compute(device="cpu", **compute), None, texts)
    return target


def settings(step):
    return LORA.settings(parse_step(step))


def nll(checkpoint, tokens):
    """Mean loss of the next token."""
    with torch.no_grad():
        found = load(checkpoint, torch.float32, CPU)(tokens).logits[:, :-1]
    return torch.nn.functional.cross_entropy(found.flatten(0, 1), tokens[:, 1:].flatten()).item()


# --- settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_changes_defaults_and_settings_override_it(preset):
    found = settings(f"lora,preset={preset}")
    assert {key: getattr(found, key) for key in PRESETS[preset]} == PRESETS[preset]
    assert found.steps is None
    changed = settings(f"lora,preset={preset},steps=7,rank=3")
    assert (changed.epochs, changed.steps, changed.rank) == (None, 7, 3)
    assert changed.lr == PRESETS[preset]["lr"]


@pytest.mark.parametrize(
    ("step", "canonical"),
    [
        ("lora,steps=100,seed=0", "lora"),
        ("lora,epochs=1", "lora,epochs=1"),
        ("lora,preset=llm_pruner,epochs=2,rank=8", "lora,preset=llm_pruner"),
        ("lora,preset=llm_pruner,steps=9", "lora,preset=llm_pruner,steps=9"),
        ("lora,validation=0.10", "lora,validation=0.1"),
        ("lora,rank=0,dropout=0.1", "lora,rank=0"),
    ],
)
def test_a_step_spells_what_differs_from_the_defaults(step, canonical):
    assert str(LORA.canonical(parse_step(step))) == canonical


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("lora,epochs=1,steps=5", "give epochs or steps, not both"),
        ("lora,preset=alpaca", "'', 'llm_pruner', 'slicegpt' or 'llamafactory'"),
        ("lora,validation=0", "no share of the windows between 0 and 1"),
        ("lora,rank=0,merge=false", "merge=false keeps an adapter, and rank=0 trains without one"),
        ("lora,batch=6,micro_batch=4", "micro_batch 4 does not divide the batch of 6 windows"),
        ("lora,patience=3", "patience counts validations"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(step, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        settings(step)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("lora,merge=false", "this base is dense numbers"),
        ("lora,targets=q_proj-up", "no linear of the decoder is called up: name some of q_proj"),
        ("lora,rank=65", "rank 65 is above the width of every linear that is trained, at most 64"),
        ("lora,validation=0.01", "takes 0 of 8 windows: choose another share"),
        ("lora,validation=8", "takes 8 of 8 windows: choose another share"),
    ],
)
def test_what_the_model_or_the_text_cannot_do_is_refused(step, sentence, base, windows, tmp_path):
    with pytest.raises(MeltpointError, match=sentence):
        tune(base, tmp_path / "target", step, {"data": [windows]})
    assert not (tmp_path / "target").exists()


def test_too_little_memory_is_refused_before_weights_are_read(base, windows, tmp_path):
    with pytest.raises(MeltpointError, match=r"rank=0 holds .* of weights, .* 100 kB of memory"):
        tune(base, tmp_path / "target", "lora,rank=0", {"data": [windows]}, memory=0.0001)


def test_a_text_shorter_than_a_window_is_refused(base, stream, tmp_path):
    with pytest.raises(MeltpointError, match="has 800 tokens, a window of 801 needs more"):
        tune(base, tmp_path / "target", "lora,length=801", {"data": [stream]})


# --- examples ----------------------------------------------------------------------------------------


def records(tokens, offsets, responses):
    return TrainingText(np.array(tokens, np.int32), "set", np.array(offsets), np.array(responses))


def test_the_loss_is_that_of_the_response_alone():
    text = records(range(10, 20), [0, 4, 10], [2, 5])
    examples = _lora_examples.examples_of(text, Settings(length=6))
    batch = _lora_examples.collate(examples)
    assert batch["input_ids"].tolist() == [[10, 11, 12, 13, 0, 0], [14, 15, 16, 17, 18, 19]]
    nothing = NO_TOKEN
    expected = [[nothing, nothing, 12, 13, nothing, nothing], [*[nothing] * 5, 19]]
    assert batch["labels"].tolist() == expected


def test_a_record_whose_response_is_cut_off_is_left_out():
    text = records(range(10, 20), [0, 4, 10], [2, 5])
    assert len(_lora_examples.examples_of(text, Settings(length=5))) == 1
    with pytest.raises(MeltpointError, match="no record's response begins within 2 tokens"):
        _lora_examples.examples_of(text, Settings(length=2))


def test_every_epoch_is_another_order_of_all_examples():
    order = _lora_examples.order_of(Settings(batch=4), 6, 3)
    assert sorted(order[:6]) == sorted(order[6:]) == list(range(6))
    assert list(order[:6]) != list(order[6:])
    assert _lora_examples.steps_of(Settings(epochs=2, batch=4), 6) == 3


def test_padding_changes_no_loss(base):
    model, short = load(base, torch.float32, CPU), random_tokens(1, 9)[0]
    example = _lora_examples.Example(short, 3)
    long = _lora_examples.Example(random_tokens(1, 16, seed=4)[0], 16)
    losses = []
    for examples in ([example], [example, long]):
        batch = _lora_examples.collate(examples)
        outputs = model(input_ids=batch["input_ids"])
        losses.append(_lora_training.mean_loss(outputs, batch["labels"]).item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


# --- training ----------------------------------------------------------------------------------------


def test_it_learns_the_text(base, stream, tmp_path):
    target = tune(base, tmp_path / "target", f"{QUICK},steps=60", {"data": [stream]})
    tokens = torch.from_numpy(np.load(stream)[:64]).long().view(4, 16)
    assert nll(target, tokens) < nll(base, tokens) - 1
    history = json.loads((target / "analysis/training.json").read_text())
    assert history["steps"] == history["chosen_step"] == 60
    assert history["log"][-1]["loss"] < history["log"][0]["loss"]
    cost = json.loads((target / COST).read_text())["training"]
    assert cost["seconds"] > 0
    assert cost["peak_memory"] > 1e7


def test_what_is_merged_is_what_was_trained(made, windows):
    """Also where a mask holds zeros."""
    pruned = made("magnitude@0.5")
    model = load(pruned, torch.float32, CPU)
    name = "model.layers.0.mlp.up_proj"
    before = model.get_submodule(name).weight.clone()
    adapters = _lora_adapters.Adapters(model, {name: 4}, {name: before != 0}, Settings(rank=4))
    layer = model.get_submodule(name)
    layer.lora_B["default"].weight.data.normal_()
    after, inputs = adapters.weight(name, before), torch.randn(3, 64)
    assert ((after != 0) == (before != 0)).all()
    torch.testing.assert_close(layer(inputs), inputs @ after.T)


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("pruned", ["magnitude@0.5", "magnitude@2of4"])
def test_zeros_stay_unless_they_are_not_to(rank, pruned, made, folder, windows):
    parent = made(pruned)
    kept, filled = (
        run(
            parent,
            folder / f"{pruned}-{rank}-{keep}",
            f"lora,rank={rank},keep_zeros={keep}",
            windows,
        )
        for keep in ("true", "false")
    )
    before = weights(parent)
    for name in linear_names(parent):
        assert ((weights(kept)[name] == 0) >= (before[name] == 0)).all()
    assert Description.read(kept).zeros_lost == 0
    assert Description.read(filled).zeros_lost > 1000


def test_only_the_targets_change(base, windows, tmp_path):
    target = run(base, tmp_path / "target", "lora,targets=q_proj-down_proj", windows)
    before, after = weights(base), weights(target)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {n for n in linear_names(base) if "q_proj" in n or "down_proj" in n}


def test_the_best_state_is_kept(base, stream, windows, tmp_path):
    """What is learned by heart does not help a random text."""
    texts = {"data": [stream], "validation": [windows]}
    step = f"{QUICK},steps=20,every=2,validation=other"
    target = tune(base, tmp_path / "target", step, texts)
    history = json.loads((target / "analysis/training.json").read_text())
    losses = {e["step"]: e["eval_loss"] for e in history["log"] if "eval_loss" in e}
    assert history["chosen_step"] == min(losses, key=losses.get) < 20
    assert nll(target, random_tokens(8, 16)) == pytest.approx(min(losses.values()), abs=1e-3)
    early = tune(base, tmp_path / "early", f"{step},patience=1", texts)
    assert json.loads((early / "analysis/training.json").read_text())["steps"] < 20


def test_checkpointing_changes_nothing_and_bfloat16_little(base, windows, tmp_path):
    plain, again, half = (
        weights(run(base, tmp_path / name, f"lora{more}", windows))
        for name, more in (("a", ""), ("b", ",checkpointing=true"), ("c", ",bfloat16=true"))
    )
    original = weights(base)
    for name in linear_names(base):
        torch.testing.assert_close(plain[name], again[name])
        moved = (plain[name] - original[name]).norm()
        assert 0 < (half[name] - plain[name]).norm() < moved


@pytest.mark.parametrize("warns", [False, True])
def test_a_training_leaves_the_choice_of_algorithms_as_it_was(warns):
    torch.use_deterministic_algorithms(True, warn_only=warns)
    try:
        with _lora_run._seeded(0):
            assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == warns
    finally:
        torch.use_deterministic_algorithms(False)


class Killed(Exception):
    """Stands in for the end of a process."""


@pytest.mark.parametrize(
    "step", ["lora,dropout=0.1", "lora,rank=0", "lora,validation=0.3,patience=9"]
)
def test_a_killed_training_ends_with_the_same_bytes(step, base, stream, tmp_path, monkeypatch):
    step = step.replace("lora", f"{QUICK},steps=12,every=3")
    texts = {"data": [stream]}
    whole = tune(base, tmp_path / "whole", step, texts)
    seen = []

    def die(self, args, state, control, **_):
        seen.append(state.global_step)
        if state.global_step == 8 and seen.count(8) == 1:
            raise Killed

    monkeypatch.setattr(_lora_training.Progress, "on_step_end", die)
    with pytest.raises(Killed):
        tune(base, tmp_path / "killed", step, texts)
    resumed = tune(base, tmp_path / "killed", step, texts)
    assert seen == [*range(1, 9), *range(7, 13)]
    assert hash_weights(resumed) == hash_weights(whole)
    logs = [(f / "analysis/training.json").read_text() for f in (whole, resumed)]
    assert logs[0] == logs[1]


def test_a_state_that_was_cut_off_is_not_resumed(tmp_path):
    for step in (3, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-3" / _lora_training.WHOLE).touch()
    assert _lora_training.last_state(tmp_path) == str(tmp_path / "checkpoint-3")


# --- shapes and grids --------------------------------------------------------------------------------


def test_a_factor_narrower_than_the_rank_gets_an_adapter_of_its_width(made, windows, tmp_path):
    parent = made("svd@0.8")
    narrow = min(min(x.shape) for x in Description.read(parent).linears.values())
    target = run(parent, tmp_path / "target", f"lora,rank={narrow + 4}", windows)
    assert Description.read(target).shapes == Description.read(parent).shapes
    assert not torch.equal(logits(target), logits(parent))


@pytest.mark.parametrize("chain", ["rtn@4bit", "magnitude@0.5+rtn@4bit"])
def test_an_adapter_beside_a_grid_counts_in_all_scores(chain, made, windows, tmp_path):
    parent = made(chain)
    merged, beside = (
        run(parent, tmp_path / name, f"lora,targets=q_proj-up_proj{more}", windows)
        for name, more in (("merged", ""), ("beside", ",merge=false"))
    )
    description, origin = Description.read(beside), Description.read(parent)
    assert description.linears == origin.linears
    assert hash_weights(beside) != origin.hash
    torch.testing.assert_close(logits(beside), logits(merged), rtol=1e-4, atol=1e-5)
    weighed, before = size(beside), size(parent)
    matrices = adapter_of(beside).tensors.values()
    assert weighed["parameters"] - before["parameters"] == sum(t.numel() for t in matrices)
    assert weighed["bits_per_weight"] < size(merged)["bits_per_weight"]
    assert weighed["bytes"] > before["bytes"]
    assert description.achieved.bits > origin.achieved.bits
    assert not Description.read(merged).linears["model.layers.0.self_attn.q_proj"].stored


def test_a_step_on_an_adapter_sees_the_weights_with_it(made, windows, tmp_path):
    beside = run(made("rtn@4bit"), tmp_path / "beside", "lora,merge=false", windows)
    again = run(beside, tmp_path / "again", "rtn@8bit", windows)
    assert not (again / FOLDER).exists()
    name = "model.layers.0.mlp.up_proj.weight"
    after, effective = weights(again)[name], load(beside, torch.float32, CPU).get_parameter(name)
    assert (after - effective).norm() < 0.01 * effective.norm()
    with pytest.raises(MeltpointError, match="keeps one adapter, and the base has one beside it"):
        run(beside, tmp_path / "twice", "lora,merge=false,targets=q_proj", windows)
    pruned = run(beside, tmp_path / "pruned", "magnitude@0.5", windows)
    assert {linear.stored for linear in Description.read(pruned).linears.values()} == {None}


def test_an_adapter_beside_packed_weights(made, windows, tmp_path):
    parent = made("nf4")
    merged, beside = (
        run(parent, tmp_path / name, f"lora{more}", windows)
        for name, more in (("merged", ""), ("beside", ",merge=false"))
    )
    torch.testing.assert_close(logits(beside), logits(merged), rtol=1e-4, atol=1e-5)
    assert size(beside)["bytes"] < size(merged)["bytes"]
