"""Verifies a base checkpoint: reads every weight once, and runs the model on two short texts."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from meltpoint.checkpoints.index import index
from meltpoint.checkpoints.io import Reader
from meltpoint.checkpoints.linears import Linear, describe
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.model import empty_model
from meltpoint.model.block_parts import linears, other_matrices
from meltpoint.model.block_walk import Walk
from meltpoint.model.running import output_of, running

# Largest fraction of the blocks' matrices, by entries, that may be in other modules than linears.
MOST_LEFT = 0.1
# Number of tokens of each text; the two texts differ in the last one only.
LENGTH = 8
# As a fraction of the logits' standard deviation. The rows of a batch differ by about 1e-6 of it.
TOLERANCE_OF_ROUNDING = 1e-4


@torch.no_grad()
def verify(folder: Path) -> dict[str, Linear]:
    """Reads every weight once; returns facts about the matrices of the decoder's blocks, by name.

    Raises MeltpointError if a weight is missing, misshapen, unreadable or not finite; if the model
    cannot be run, or its logits depend on later tokens; if its blocks cannot be run one after the
    other, or hold too much besides linears.
    """
    index(folder)
    reader = Reader(folder, torch.float32, torch.device("cpu"))
    # One batch for each text shows whether a block's arguments depend on the text, which they must not.
    walk = Walk(reader, None, Compute(device="cpu", batch=1))
    check_matrices(folder, walk.blocks)
    walk.windows = two_texts(walk.model)
    blocks = BlockByBlock(walk)
    with running(walk.model, folder):
        logits = walk.model(input_ids=walk.windows, use_cache=False).logits
    blocks.read_the_rest()
    check_causal(folder, walk.model, logits)
    blocks.check(folder)
    return blocks.matrices


def check_matrices(folder: Path, blocks: nn.ModuleList) -> None:
    """Raises MeltpointError if more than `MOST_LEFT` of the matrices' entries are in no linear."""
    others = [other_matrices(block) for block in blocks]
    left = sum(matrix.numel() for found in others for matrix in found.values())
    inside = sum(x.weight.numel() for block in blocks for x in linears(block).values())
    if left > MOST_LEFT * (left + inside):
        names = list(dict.fromkeys(name for found in others for name in found))
        raise MeltpointError(
            f"{folder}: beside its linears a {type(blocks[0]).__name__} holds {', '.join(names[:4])}, "
            f"{left / (left + inside):.0%} of the entries of its matrices, which no method compresses: "
            "this architecture is not supported"
        )


def two_texts(model: PreTrainedModel) -> torch.Tensor:
    """Two texts that differ in their last token alone, without padding: int64 [2, LENGTH]."""
    config = model.config.get_text_config()
    pad = getattr(config, "pad_token_id", None)
    known = [i for i in range(min(config.vocab_size, 1000)) if i != pad]
    draw = torch.Generator().manual_seed(0)
    ids = torch.tensor(known)[torch.randint(len(known), (1, LENGTH), generator=draw)].repeat(2, 1)
    ids[1, -1] = known[(known.index(ids[0, -1]) + 1) % len(known)]
    return ids


def check_causal(folder: Path, model: PreTrainedModel, logits: torch.Tensor) -> None:
    """Raises MeltpointError if the logits before the last token differ between the two texts.

    `logits` are those of `two_texts`, float32 [2, LENGTH, vocabulary].
    """
    before = logits[:, :-1]
    moved = (before[0] - before[1]).abs().max() / before.std()
    if moved > TOLERANCE_OF_ROUNDING:
        raise MeltpointError(
            f"{folder}: {type(model).__name__} looks ahead: another last token changes the logits of "
            f"those before it (by {moved:.1g} of their standard deviation), so a perplexity would "
            "mean nothing: name a model that is a decoder by its config"
        )


class BlockByBlock:
    """A model that loads the weights of each block when the block runs, and frees them afterwards.

    While a block is loaded it runs a second time, in the way of the walk. `matrices` are facts about
    the matrices of the blocks that were read so far, by name.
    """

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.matrices: dict[str, Linear] = {}
        self.outputs: torch.Tensor | None = None
        walk.embed()
        empty_model.fill(walk.model, walk.reader.read(walk.other_names()))
        empty_model.tie(walk.model, walk.tied)
        self.waiting = set(range(len(walk.blocks)))
        self.walking = False
        for i, block in enumerate(walk.blocks):
            block.register_forward_pre_hook(lambda *_, i=i: self._enter(i))
            block.register_forward_hook(lambda _, args, result, i=i: self._leave(i, result))

    def read_the_rest(self) -> None:
        """Reads the blocks that did not run."""
        for i in sorted(self.waiting):
            self._fill(i)
            self._empty(i)

    def check(self, folder: Path) -> None:
        """Raises MeltpointError where the walk ends in other hidden states than the whole model."""
        error = (self.outputs - self.walk.hidden).abs().max() / self.outputs.std()
        if not error <= TOLERANCE_OF_ROUNDING:
            name = type(self.walk.blocks[0]).__name__
            raise MeltpointError(
                f"{folder}: a {name} takes or gives more than hidden states: run one by one on each "
                f"text, the blocks do not give what the model gives (by {error:.1g} of its standard "
                "deviation), so this architecture is not supported"
            )

    def _enter(self, i: int) -> None:
        if not self.walking:
            self._fill(i)

    def _leave(self, i: int, result: torch.Tensor | tuple) -> None:
        if self.walking:
            return
        self.outputs, self.walking = output_of(result), True
        self.walk.advance(i)
        self.walking = False
        self._empty(i)

    def _fill(self, i: int) -> None:
        walk = self.walk
        empty_model.fill(walk.model, walk.reader.read(walk.names(i)))
        block = walk.blocks[i]
        weights = {name: linear.weight for name, linear in linears(block).items()}
        for name, weight in (weights | other_matrices(block)).items():
            self.matrices[f"{walk.name}.{i}.{name}"] = describe(weight, None, None)
        self.waiting.discard(i)

    def _empty(self, i: int) -> None:
        empty_model.empty(self.walk.model, self.walk.names(i))
