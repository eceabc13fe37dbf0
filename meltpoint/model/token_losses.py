"""The model's loss on hidden states that have passed the blocks."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch

from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.next_tokens import next_token_losses
from meltpoint.model.running import Recorder, recorders, running

# Number of logits that an accelerator's head computes at once. With a vocabulary of 128,000, a walk's
# batch of 16,384 tokens has 8.4 GB of logits in float32, and the loss with its gradient takes four
# times as much.
MOST_LOGITS = {"cuda": 2**28}


@contextlib.contextmanager
def head_of(walk: Walk) -> Iterator[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """Context in which final norm and head are loaded; yields a function that computes losses.

    The function takes tokens [windows, tokens] and the last block's outputs [windows, tokens, width].
    It returns the cross-entropy of the next tokens in nats [windows, tokens - 1], at least in float32.
    With gradients on, it must get the windows in slices of `head_batches`.
    """
    names = walk.other_names()
    empty_model.fill(walk.model, walk.reader.read(names))
    empty_model.tie(walk.model, walk.tied)
    with recorders(walk.blocks) as stand_ins:
        yield partial(_token_losses, walk, stand_ins[-1])
    empty_model.empty(walk.model, names)
    empty_model.tie(walk.model, walk.tied)


def head_batches(walk: Walk, batches: Iterable[slice]) -> Iterator[slice]:
    """Splits batches of windows into slices whose logits fit on the device together."""
    most = MOST_LOGITS.get(walk.compute.torch_device.type)
    if most is None:
        yield from batches
        return
    vocabulary = walk.model.config.get_text_config().vocab_size
    size = max(1, most // (vocabulary * walk.windows.shape[1]))
    for batch in batches:
        starts = range(batch.start, batch.stop, size)
        yield from (slice(i, min(i + size, batch.stop)) for i in starts)


def _token_losses(
    walk: Walk, last_block: Recorder, tokens: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    if torch.is_grad_enabled():
        return _losses_together(walk, last_block, tokens, hidden)
    parts = [
        _losses_together(walk, last_block, tokens[batch], hidden[batch])
        for batch in head_batches(walk, [slice(0, len(tokens))])
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _losses_together(
    walk: Walk, last_block: Recorder, tokens: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    tokens = tokens.to(hidden.device)
    handle = last_block.register_forward_hook(lambda *_: last_block.returned(hidden))
    with running(walk.model, walk.reader.folder):
        logits = walk.model(input_ids=tokens, use_cache=False).logits
    handle.remove()
    return next_token_losses(logits, tokens)[:, :-1]
