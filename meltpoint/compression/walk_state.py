"""The state of a walk, kept in a file, from which a walk that was killed continues.

A state holds everything that the next block needs: the hidden states at its border, the method's
memory, the state of the random number generator, and facts about the blocks written so far. The shards
are in the same folder. A state belongs to one job spec (`meltpoint.compression.resume`), and to the
checkpoint, windows, versions and kind of device that it was made with. Any other state, and one that
cannot be read, is ignored.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy
import torch
from pydantic import TypeAdapter

from meltpoint.chain import Level
from meltpoint.checkpoints.description import Description, versions
from meltpoint.checkpoints.io import Writer
from meltpoint.checkpoints.shapes import Shapes
from meltpoint.compression.walk_job import Job, Outcome
from meltpoint.compute import Compute, is_out_of_memory, worth_keeping
from meltpoint.errors import MeltpointError
from meltpoint.files import sync, whole_file
from meltpoint.model import shaped
from meltpoint.model.block_walk import Walk

STATE = "state.pt"
# Share of a walk's time that saving may take: after a save of one second the next waits twenty.
SHARE = 0.05
# Attributes of a walk and of a writer that a state holds.
OF_WALK = ("hidden", "dense", "compressed", "unsent")
OF_WRITER = ("files", "shapes", "shards", "bytes")
# Functions that rebuild NumPy arrays. From other packages only Meltpoint's classes are loaded.
OF_ARRAYS = ("numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar")
OF_ARRAYS += ("numpy.ndarray", "numpy.dtype", "builtins.bytes")


@dataclass
class State:
    """State of a walk after `done` of its blocks.

    `levels` are the levels of all blocks. `walk` and `written` hold the attributes `OF_WALK` and
    `OF_WRITER`, `sizes` the bytes of each shard. `memory` and `smallest` are the job's, `outcome` is
    the outcome so far as JSON.
    """

    done: int
    levels: list[Level | None]
    walk: dict[str, Any]
    written: dict[str, Any]
    sizes: list[int]
    memory: dict[str, Any]
    smallest: dict[str, float]
    outcome: str
    random: torch.Tensor

    @classmethod
    def of(
        cls,
        walk: Walk,
        writer: Writer,
        job: Job,
        outcome: Outcome,
        levels: list[Level | None],
        done: int,
    ) -> "State":
        """The current state of a walk. Its tensors are the walk's own, not copies."""
        return cls(
            done,
            levels,
            {name: getattr(walk, name) for name in OF_WALK},
            {name: getattr(writer, name) for name in OF_WRITER},
            [path.stat().st_size for path in writer.paths()],
            job.memory,
            job.smallest,
            TypeAdapter(Outcome).dump_json(outcome).decode(),
            torch.get_rng_state(),
        )

    def restore(self, walk: Walk, writer: Writer, job: Job) -> Outcome:
        """Puts the state into walk, writer and job; returns the outcome so far."""
        outcome = TypeAdapter(Outcome).validate_json(self.outcome)
        job.memory.update(self.memory)
        job.smallest.update(self.smallest)
        for owner, fields in ((walk, self.walk), (writer, self.written)):
            for name, value in fields.items():
                setattr(owner, name, value)
        if walk.hidden is not None:
            walk.note_calls()
        done = [walk.blocks[index] for index in outcome.kept]
        shaped.apply(walk.model, done, Shapes(blocks=outcome.blocks, others={}))
        torch.set_rng_state(self.random)
        return outcome


class WalkStates:
    """Saves the states of a walk. A folder keeps the last one, beside the shards.

    `origin` is the result of `origin_of`. The folder is made when the first state is saved.
    """

    def __init__(self, folder: Path, compute: Compute, origin: dict[str, str]) -> None:
        self.folder, self.resume, self.origin = folder, compute.resume, origin
        self.first, self.synced, self.cost = 0, 0, 0.0
        self.start = self.saved = time.monotonic()

    def read(self, writer: Writer) -> State | None:
        """The state that a killed walk has left; None if there is none to continue from."""
        if self.resume is False or not self.folder.exists():
            return None
        try:
            kept = read_classes(self.folder / STATE)
            state = State(**kept["state"])
            paths = [writer.path(shard, self.folder) for shard in range(1, len(state.sizes) + 1)]
            whole = [path.stat().st_size for path in paths] == state.sizes
        # A broken file is no error, as the walk can start anew. Running out of memory is one.
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return self._ignore(f"cannot be read ({type(error).__name__})")
        if kept["origin"] != self.origin or not whole:
            return self._ignore("is not of this checkpoint, these windows, versions and device")
        writer.place, self.resume = self.folder, True
        self.first = self.synced = state.done
        self.start = self.saved = time.monotonic()
        logging.info("%d blocks were done before: the walk goes on behind them", state.done)
        return state

    def _ignore(self, reason: str) -> None:
        logging.info("%s %s: the walk begins again", self.folder / STATE, reason)
        shutil.rmtree(self.folder, ignore_errors=True)

    def after(self, done: int, count: int, writer: Writer, state: Callable[[], State]) -> None:
        """Saves the state after `done` of `count` blocks, if the walk is long and a save is due.

        A state that cannot be written is no error: the walk continues without it.
        """
        begun = time.monotonic()
        expected = (begun - self.start) / (done - self.first) * count
        if not worth_keeping(self.resume, expected) or begun - self.saved < self.cost / SHARE:
            return
        try:
            self._save(writer, state)
        except (MeltpointError, OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            logging.warning("%s cannot be written (%s)", self.folder / STATE, reason)
        self.saved = time.monotonic()
        self.cost = self.saved - begun

    def _save(self, writer: Writer, state: Callable[[], State]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        writer.move(self.folder)
        for path in writer.paths()[self.synced :]:
            sync(path)
        with whole_file(self.folder / STATE) as partial:
            found = state()
            torch.save({"origin": self.origin, "state": vars(found)}, partial)
            sync(partial)
        self.synced = writer.shards


def origin_of(parent: Path, windows: torch.Tensor | None, compute: Compute) -> dict[str, str]:
    """Identity of a walk's inputs and device; walks with equal ones give the same bytes."""
    tokens = b"" if windows is None else windows.numpy().tobytes()
    return {
        "parent": str(Description.read(parent).hash),
        "windows": sha256(tokens).hexdigest(),
        # With the number of the card, because the tensors of a state are loaded onto it.
        "device": str(compute.torch_device),
        **versions(),
    }


def read_classes(file: Path) -> dict[str, Any]:
    """Content of a file of `torch.save`. It may hold only Meltpoint's classes, tensors and arrays.

    Raises ValueError for a file that names anything else.
    """
    # The dtypes are allowed as well: the file builds them without naming them.
    classes = [dtype for dtype in vars(numpy.dtypes).values() if isinstance(dtype, type)]
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(file):
        module, _, attribute = name.rpartition(".")
        ours = module.split(".")[0] == __name__.split(".")[0]
        if not ours and name not in OF_ARRAYS:
            raise ValueError(f"{file} names {name}")
        classes.append(getattr(import_module(module), attribute))
        if ours and not isinstance(classes[-1], type):
            raise ValueError(f"{file} names {name}")
    with torch.serialization.safe_globals(classes):
        return torch.load(file, weights_only=True)
