"""A model that runs block by block over all texts, so that it need not fit in memory.

Memory holds the weights of one block and the hidden states of all texts. At the end it holds the final
norm and the head, which are applied to some rows at a time. Blocks and head run the model's own code.
The numbers are those of the whole model, except for the order of sums in the head's products.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from transformers import PreTrainedModel

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines._engine import Engine, Observer
from meltpoint.evaluations.engines._model_engine import (
    AUTO_LOGITS,
    limits,
    losses,
    window_batches,
)
from meltpoint.evaluations.engines._places import padded
from meltpoint.evaluations.engines._requests import Pass
from meltpoint.evaluations.engines._stream import stream

# Texts whose lengths differ by no more than this factor are padded to the longest of them.
SAME_LENGTH = 1.25


class StreamedEngine(Engine):
    """Runs a checkpoint with one block in memory at a time; each call reads the files again."""

    name = "transformers"
    load_seconds = 0.0

    def __init__(self, checkpoint: Path, model: PreTrainedModel, compute: Compute) -> None:
        super().__init__(compute)
        self.checkpoint = checkpoint
        self.vocabulary, self.context_length = limits(model)

    @torch.no_grad()
    def nll(self, windows: np.ndarray, observe: Observer | None = None) -> np.ndarray:
        """Negative log likelihood of each predicted token in nats: float32 [windows, length - 1]."""
        ids = torch.from_numpy(windows).long()
        targets = ids[:, 1:].flatten()
        nll = torch.empty(len(targets))
        (texts,) = stream(self.checkpoint, [ids], self.compute)
        texts.read_head()
        for places in self._places(ids):
            rows, columns = places // (ids.shape[1] - 1), places % (ids.shape[1] - 1)
            logits = texts.logits(rows, columns).float()
            wanted = targets[places].to(logits.device)
            nll[places] = losses(logits, wanted, int(places[0]), observe).cpu()
        texts.close()
        return nll.view(len(ids), -1).numpy()

    @torch.no_grad()
    def head_inputs(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """Inputs of the head, part by part, [places, width] in the model's dtype."""
        ids = torch.from_numpy(windows).long()
        (texts,) = stream(self.checkpoint, [ids], self.compute)
        texts.read_head()
        for places in self._places(ids):
            yield texts.head_inputs(places // (ids.shape[1] - 1), places % (ids.shape[1] - 1))
        texts.close()

    def _places(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Numbers of the predicted tokens, in parts whose logits are computed together."""
        windows, length = ids.shape
        return torch.arange(windows * (length - 1)).split(self._rows_at_once(length))

    @torch.no_grad()
    def logits(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """The logits of all windows batch by batch: float32 [batch, length, vocabulary]."""
        ids = torch.from_numpy(windows).long()
        (texts,) = stream(self.checkpoint, [ids], self.compute)
        texts.read_head()
        length, done = ids.shape[1], 0
        for batch in window_batches(windows, self.vocabulary, self.compute):
            places = torch.arange(done * length, (done + len(batch)) * length)
            logits = texts.logits(places // length, places % length)
            yield logits.float().view(len(batch), length, -1)
            done += len(batch)
        texts.close()

    def close(self) -> None:
        """Does nothing: no weights are held between two calls."""

    def decoding(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        rows: int | None = None,
        hidden_states: bool = False,
    ) -> NoReturn:
        """Raises MeltpointError: each new token would read the whole checkpoint again."""
        raise MeltpointError(
            "a model that is streamed cannot write text, as all weights would be read again for each "
            "token: set compute.stream to false"
        )

    def _rows(self, passes: list[Pass]) -> Iterator[tuple[Pass, torch.Tensor]]:
        groups = alike(passes)
        places = [padded(group) for group in groups]
        streams = stream(self.checkpoint, [ids for ids, _, _ in places], self.compute)
        for group, texts, (_, rows, columns) in zip(groups, streams, places, strict=True):
            texts.read_head()
            counts = [len(each.positions) for each in group]
            parts = zip(group, rows.split(counts), columns.split(counts), strict=True)
            for each, row, column in parts:
                yield each, texts.logits(row, column).float()
            texts.close()

    def _rows_at_once(self, length: int) -> int:
        """Number of rows of logits, one for each token, that are computed together."""
        if self.compute.batch != "auto":
            return self.compute.batch * length
        device = self.compute.torch_device.type
        return max(1, AUTO_LOGITS.get(device, AUTO_LOGITS["cpu"]) // self.vocabulary)


def alike(passes: list[Pass]) -> list[list[Pass]]:
    """The passes in groups, the longest first; lengths of a group differ by at most `SAME_LENGTH`."""
    groups: list[list[Pass]] = []
    for each in sorted(passes, key=len, reverse=True):
        if groups and len(groups[-1][0]) <= SAME_LENGTH * len(each):
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups
