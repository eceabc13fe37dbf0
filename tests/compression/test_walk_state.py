"""A walk that is killed goes on at its block and ends with the same bytes, or begins again."""

import json
import logging
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from meltpoint import compute as compute_module
from meltpoint.checkpoints.description import FILE, hash_weights
from meltpoint.checkpoints.io import Reader
from meltpoint.compression import block_gradients, blockwise, walk_state
from meltpoint.compute import Compute
from tests.support.contract_steps import METHODS, ROUNDING, first
from tests.support.steps import SHAPE_KINDS, run, spell
from tests.support.tiny_models import random_tokens, save_model

LEVELS = {"unstructured": "0.5", "quantization": "4bit", **dict.fromkeys(SHAPE_KINDS, "0.4")}
BLOCKWISE = [name for name, method in METHODS.items() if method.is_blockwise]
# The one with the fewest settings that prunes by what it sees, one that changes the residual width,
# and one that rounds.
PRUNING = min(
    (n for n, m in METHODS.items() if m.kind == "unstructured" and "norm" in m.facts.statistics),
    key=lambda name: len(METHODS[name].settings_class.model_fields),
)
SLICING = first("structured", lambda m: m.facts.rescales_norms)
FEW = (PRUNING, SLICING, ROUNDING)
BLOCKS, LAST = 3, 2


class Killed(BaseException):
    """Stands in for the end of a process."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    save_model(folder / "base", "llama", num_hidden_layers=BLOCKS)
    np.save(folder / "windows.npy", random_tokens(6, 32).numpy())
    return folder


@pytest.fixture(scope="module")
def whole(place):
    """The checkpoint of a method whose walk nobody disturbs, made once."""

    def make(method):
        target = place / method
        return target if target.exists() else step(method, place, target, resume=False)

    return make


@pytest.fixture
def blocks(monkeypatch):
    """The blocks that are compressed; the last one ends by `blocks.end` if that is not None."""
    compress = blockwise._compress

    class Blocks(list):
        end = None

    def compressed(walk, index, *arguments):
        seen.append(index)
        if index == LAST and seen.end:
            seen.end()
        return compress(walk, index, *arguments)

    seen = Blocks()
    monkeypatch.setattr(blockwise, "_compress", compressed)
    # Every block, however long the last save took.
    monkeypatch.setattr(walk_state, "SHARE", float("inf"))
    return seen


def step(method, place, target, resume=True, windows="windows.npy"):
    spelling = spell(method, LEVELS[METHODS[method].kind])
    return run(place / "base", target, spelling, place / windows, resume=resume)


def killed(blocks, method, place, target, **options):
    """The file of the state that a walk leaves that is killed in its last block."""

    def end():
        raise Killed

    blocks.clear()
    blocks.end = end
    with pytest.raises(Killed):
        step(method, place, target, **options)
    blocks.end = None
    assert not target.exists()
    return next(target.parent.glob(f".{target.name}.resume-*/walk/{walk_state.STATE}"), None)


def assert_same(target, whole):
    assert hash_weights(target) == hash_weights(whole)
    assert (target / FILE).read_bytes() == (whole / FILE).read_bytes()
    assert {x.name for x in target.iterdir()} == {x.name for x in whole.iterdir()}
    assert not list(target.parent.glob(f".{target.name}*"))


@pytest.mark.parametrize(
    "method",
    [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in BLOCKWISE if n not in FEW)],
)
def test_a_killed_walk_goes_on_and_ends_with_the_same_bytes(method, place, whole, blocks, tmp_path):
    expected, target = whole(method), tmp_path / "target"
    assert killed(blocks, method, place, target)
    step(method, place, target)
    assert blocks == [0, 1, 2, 2]
    assert_same(target, expected)


def test_a_process_that_is_killed(place, whole, blocks, tmp_path):
    """SIGKILL in the middle of the last block."""
    expected, target = whole(SLICING), tmp_path / "target"
    blocks.end = lambda: os.kill(os.getpid(), signal.SIGKILL)
    threads = torch.get_num_threads()
    # A forked process has none of its parent's threads.
    torch.set_num_threads(1)
    try:
        process = multiprocessing.get_context("fork").Process(
            target=step, args=(SLICING, place, target)
        )
        process.start()
        process.join(60)
    finally:
        torch.set_num_threads(threads)
    assert process.exitcode == -signal.SIGKILL
    blocks.clear()
    blocks.end = None
    step(SLICING, place, target)
    assert blocks == [2]
    assert_same(target, expected)


@pytest.mark.parametrize("what", ["state", "shard", "class", "windows", "unwanted"])
def test_a_state_that_is_not_whole_or_not_of_this_walk_is_ignored(
    what, place, whole, blocks, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    method = PRUNING if what == "windows" else ROUNDING
    expected, target = whole(method), tmp_path / "target"
    np.save(place / "others.npy", random_tokens(6, 32, seed=5).numpy())
    windows = "others.npy" if what == "windows" else "windows.npy"
    state = killed(blocks, method, place, target, windows=windows)
    if what in ("state", "shard"):
        file = state if what == "state" else state.with_name("model-00002.safetensors")
        os.truncate(file, file.stat().st_size - 1)
    if what == "class":
        torch.save({"origin": json.loads, "state": {}}, state)
    step(method, place, target, resume=what != "unwanted")
    assert blocks == [0, 1, 2, 0, 1, 2]
    assert what == "unwanted" or f"{state}" in caplog.text
    assert_same(target, expected)


@pytest.mark.parametrize("long", [False, True])
def test_walks_of_more_than_ten_minutes_are_kept_by_default(
    long, place, blocks, tmp_path, monkeypatch
):
    if long:
        monkeypatch.setattr(compute_module, "LONG", 0.0)
    assert bool(killed(blocks, ROUNDING, place, tmp_path / "target", resume="auto")) == long
    assert len(list(tmp_path.iterdir())) == long


def test_a_walk_goes_on_without_a_state_that_cannot_be_written(
    place, whole, tmp_path, monkeypatch, caplog
):
    def full(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    assert_same(step(ROUNDING, place, tmp_path / "target"), whole(ROUNDING))
    assert "state.pt cannot be written (PytorchStreamWriter failed" in caplog.text


def test_saving_takes_a_small_part_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(walk_state.time, "monotonic", lambda: now[0])
    states = walk_state.WalkStates(tmp_path, Compute(device="cpu", resume=True), {})
    saved = []

    def save(*_):
        saved.append(now[0])
        now[0] += 2

    monkeypatch.setattr(states, "_save", save)
    for done in range(1, 11):
        now[0] += 10
        states.after(done, 10, None, None)
    assert saved == [10, 52, 94]


def test_gradients_that_took_long_are_there_when_a_killed_job_runs_again(
    place, tmp_path, monkeypatch
):
    reader, windows = (
        Reader(place / "base", torch.float32, torch.device("cpu")),
        random_tokens(2, 8),
    )
    walks, backwards = [], block_gradients.walk_backwards

    def counted(*arguments):
        walks.append(arguments)
        return backwards(*arguments)

    monkeypatch.setattr(block_gradients, "walk_backwards", counted)

    def use(resume, origin):
        """Reads the gradients in a job that is killed then."""
        compute, names = Compute(device="cpu", resume=resume), ("gradient",)
        arguments = (reader, windows, compute, names, tmp_path / "g", origin)
        with block_gradients.block_gradients(*arguments) as gradients:
            found.append(gradients.read(1)["mlp.up_proj"].gradient)
            raise Killed

    found = []
    for resume, parent, walked in ((True, "a", 1), (True, "a", 1), ("auto", "b", 2)):
        with pytest.raises(Killed):
            use(resume, {"parent": parent})
        assert len(walks) == walked
    assert torch.equal(*found[:2])
    assert not (tmp_path / "g").exists()
