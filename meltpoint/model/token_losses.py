"""The model's loss on hidden states that have passed the blocks."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.running import Recorder, recorders, running


@contextlib.contextmanager
def head_of(walk: Walk) -> Iterator[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """Reads final norm and head for a while, and yields the function that computes losses with them.

    The function takes tokens [windows, tokens] and the last block's outputs for them [windows, tokens,
    width], and returns the cross-entropy of the next tokens [windows, tokens - 1], at least in float32.
    """
    names = walk.other_names()
    empty_model.fill(walk.model, walk.reader.read(names))
    empty_model.tie(walk.model, walk.tied)
    with recorders(walk.blocks) as stand_ins:
        yield partial(_token_losses, walk, stand_ins[-1])
    empty_model.empty(walk.model, names)
    empty_model.tie(walk.model, walk.tied)


def _token_losses(
    walk: Walk, last_block: Recorder, tokens: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    tokens = tokens.to(hidden.device)
    handle = last_block.register_forward_hook(lambda *_: last_block.returned(hidden))
    with running(walk.model, walk.reader.folder):
        logits = walk.model(input_ids=tokens, use_cache=False).logits[:, :-1]
    handle.remove()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
