"""SLEB's search: the order in which blocks are removed, by the loss without each of them."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import overflow, return_memory, trim_memory
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.files import write_json
from meltpoint.memory import usable_bytes
from meltpoint.methods.contract import Context
from meltpoint.model import empty_model
from meltpoint.model.block_walk import AUTO_TOKENS, Walk
from meltpoint.model.token_losses import head_of


@torch.no_grad()
def search(source: Path, context: Context) -> dict[str, Any]:
    """The blocks' `order` of removal, the `losses` of each removal by block, and their `parameters`.

    Results so far are kept in `context.resume` after each removal. Raises NotApplicable for a model of
    fewer than three blocks, and MeltpointError if no loss is finite.
    """
    return_memory()
    compute = context.compute
    walk = Walk(Reader(source, compute.torch_dtype, compute.torch_device), context.windows, compute)
    depth = len(walk.blocks)
    if depth < 3:
        raise NotApplicable(
            f"sleb keeps the first and the last block: it can remove none of the model's {depth}"
        )
    file = context.resume / "removed.json" if context.resume else None
    done = json.loads(file.read_text()) if file and file.exists() else {"order": [], "losses": []}
    trials = Trials(walk, done["order"])
    for _ in context.progress(range(len(done["order"]), depth - 2), "sleb: removals"):
        losses = trials.losses()
        removed = _least(losses, compute.dtype)
        trials.remove(removed)
        done["order"].append(removed)
        done["losses"].append({str(block): loss for block, loss in losses.items()})
        if file:
            write_json(file, done)
    sizes = [sum(parameter.numel() for parameter in block.parameters()) for block in walk.blocks]
    return {**done, "parameters": sizes}


def _least(losses: dict[int, float], dtype: str) -> int:
    """The block whose loss is the lowest, the first of equal ones; NaN and infinities do not count."""
    finite = [block for block, loss in losses.items() if math.isfinite(loss)]
    if not finite:
        raise MeltpointError(overflow("the losses without a block", "one of the others", dtype))
    return min(finite, key=losses.__getitem__)


@dataclass
class Group:
    """Some of the windows, with the inputs of the first remaining blocks, in the order of blocks."""

    windows: slice
    borders: list[torch.Tensor] = field(default_factory=list)


class Trials:
    """A model without some of its blocks, and its losses without one more.

    Each block is read once for a removal and a group of windows. All candidates before it pass it
    together. Hidden states at the borders of blocks before the last removed one stay valid, so the
    next removal begins there, unless there are several groups: then the borders are not kept. The
    windows go through the blocks in as few groups as `compute.memory` allows.
    """

    def __init__(self, walk: Walk, removed: list[int]) -> None:
        self.walk = walk
        self.alive = [index for index in range(len(walk.blocks)) if index not in removed]
        walk.embed()
        self.batch = walk.compute.batch_size(walk.windows.shape[1], AUTO_TOKENS)
        self.groups = [Group(windows, [walk.hidden[windows]]) for windows in self._groups()]

    def _groups(self) -> Iterator[slice]:
        """The windows in groups whose hidden states, two for each candidate, fit in memory."""
        count, hidden = len(self.walk.windows), self.walk.hidden
        window = 2 * (len(self.alive) - 2) * hidden[0].numel() * hidden.element_size()
        batches = max(1, usable_bytes(self.walk.compute) // (window * self.batch))
        return _slices(count, batches * self.batch)

    def remove(self, block: int) -> None:
        """Removes one more block, and the hidden states that are no longer valid."""
        place = self.alive.index(block)
        del self.alive[place]
        for group in self.groups:
            del group.borders[1 + place if len(self.groups) == 1 else 1 :]

    def losses(self) -> dict[int, float]:
        """Losses without each block except the first and the last, by block in ascending order."""
        losses = torch.cat([self._window_losses(group) for group in self.groups], dim=1)
        return dict(zip(self.alive[1:-1], losses.sum(dim=1).tolist(), strict=True))

    def _window_losses(self, group: Group) -> torch.Tensor:
        """Mean cross-entropy times length, without each candidate: float32 [candidates, windows]."""
        walk, borders, last = self.walk, group.borders, len(self.alive) - 1
        states: list[torch.Tensor] = []
        for place, index in enumerate(self.alive):
            is_border_new = place < last - 1 and place + 1 == len(borders)
            if states or is_border_new:
                names = walk.names(index)
                empty_model.fill(walk.model, walk.reader.read(names))
                if is_border_new:
                    borders.append(torch.empty_like(borders[place]))
                    self._run(index, borders[place], borders[-1])
                for state in states:
                    self._run(index, state, state)
                empty_model.empty(walk.model, names)
                trim_memory()
            if 0 < place < last:
                states.append(borders[place].clone())
        return self._losses_of(group.windows, states)

    def _run(self, index: int, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Writes a block's outputs on hidden states [windows, tokens, width] to `outputs`."""
        for batch in _slices(len(inputs), self.batch):
            outputs[batch] = self.walk.forward(index, batch, inputs=inputs)

    def _losses_of(self, windows: slice, states: list[torch.Tensor]) -> torch.Tensor:
        tokens = self.walk.windows[windows]
        with head_of(self.walk) as token_losses:
            rows = [
                [
                    token_losses(tokens[batch], state[batch]).float().mean(dim=1)
                    for batch in _slices(len(tokens), self.batch)
                ]
                for state in states
            ]
        return torch.stack([torch.cat(row) for row in rows]) * tokens.shape[1]


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, count)) for i in range(0, count, size))
