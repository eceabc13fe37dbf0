"""Computes the logits of chosen places in texts only, to save the head's work at the others."""

import contextlib
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from meltpoint.evaluations.engines._requests import Pass
from meltpoint.model.running import StopRunning


def padded(batch: list[Pass]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token numbers [passes, length], and rows and columns of the places that count, [places], int64.

    The padding is on the right, where no token attends to it.
    """
    ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
    for row, each in enumerate(batch):
        ids[row, : len(each)] = torch.tensor(each.tokens)
    rows = [row for row, each in enumerate(batch) for _ in each.positions]
    columns = [position for each in batch for position in each.positions]
    return ids, torch.tensor(rows), torch.tensor(columns)


@contextlib.contextmanager
def only_these(model: PreTrainedModel, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Context in which the head computes these places only: logits are [1, places, vocabulary].

    rows, columns: int64 [places].
    """

    def choose(_, inputs: tuple) -> tuple:
        return (inputs[0][rows, columns][None], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def stopping_before_head(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Context of a run of a model that ends before its head; yields a list.

    The list then holds the head's input, [texts, tokens, width].
    """
    found: list[torch.Tensor] = []

    def stop(_, inputs: tuple) -> None:
        found.append(inputs[0])
        raise StopRunning

    handle = model.get_output_embeddings().register_forward_pre_hook(stop)
    try:
        with contextlib.suppress(StopRunning):
            yield found
    finally:
        handle.remove()
