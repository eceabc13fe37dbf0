"""Texts that go through a checkpoint block by block: one block's weights are held at a time."""

from pathlib import Path

import torch
from transformers.utils import ModelOutput

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, return_memory, trim_memory
from meltpoint.evaluations.engines._places import only_these, stopping_before_head
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.head import names_behind_blocks
from meltpoint.model.load import quantize_inputs
from meltpoint.model.running import recorders, running
from meltpoint.progress import track


class Stream:
    """Texts of one length, int64 [texts, length], with their hidden states after the latest block."""

    def __init__(self, checkpoint: Path, ids: torch.Tensor, compute: Compute) -> None:
        reader = Reader(checkpoint, compute.torch_dtype, compute.torch_device)
        self.walk = Walk(reader, ids, compute)
        if reader.format is not None and (inputs := reader.format.inputs()):
            quantize_inputs(self.walk.model, reader, inputs)
        # This must come first: later steps replace parameters, and tied weights are no longer one.
        self._tied = empty_model.tied_names(self.walk.model)
        self._head_names = names_behind_blocks(self.walk)
        self.walk.embed()

    def advance(self, index: int, tensors: dict[str, torch.Tensor]) -> None:
        """Runs the hidden states through block number `index`, whose weights are `tensors` by name."""
        empty_model.fill(self.walk.model, tensors)
        self.walk.advance(index)
        empty_model.empty(self.walk.model, tensors)

    def read_head(self) -> None:
        """Reads the weights behind the blocks: final norm and head."""
        model = self.walk.model
        empty_model.fill(model, self.walk.reader.read(self._head_names))
        empty_model.tie(model, self._tied)

    def close(self) -> None:
        """Frees the weights and the hidden states."""
        self.walk.hidden = self.walk.model = None

    def logits(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Logits at places, [places, vocabulary] in the model's dtype.

        rows, columns: the places, int64 [places], in ascending order of rows.
        """
        return self._run(rows, columns).logits[0]

    def head_inputs(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Inputs of the head at places, [places, width] in the model's dtype.

        rows, columns: the places, int64 [places], in ascending order of rows.
        """
        with stopping_before_head(self.walk.model) as found:
            self._run(rows, columns)
        hidden = found[0]
        return hidden[(rows - rows[0]).to(hidden.device), columns.to(hidden.device)]

    def _run(self, rows: torch.Tensor, columns: torch.Tensor) -> ModelOutput:
        """Runs the model's own code on these rows; recorders return the states of the last block."""
        first, last = int(rows[0]), int(rows[-1])
        hidden = self.walk.hidden[first : last + 1]
        model, device = self.walk.model, hidden.device
        width = model.get_input_embeddings().weight.shape[1]
        unused = hidden.new_zeros(*hidden.shape[:2], width)
        rows, columns = (rows - first).to(device), columns.to(device)
        with (
            recorders(self.walk.blocks) as stand_ins,
            only_these(model, rows, columns),
            running(model, self.walk.reader.folder),
        ):
            stand_ins[-1].register_forward_hook(lambda *_: stand_ins[-1].returned(hidden))
            return model(inputs_embeds=unused, use_cache=False)


@torch.no_grad()
def stream(checkpoint: Path, groups: list[torch.Tensor], compute: Compute) -> list[Stream]:
    """One stream for each group of texts, int64 [texts, length], after the last block.

    All groups run through a block before the next block is read, so that it is read once.
    """
    return_memory()
    streams = [Stream(checkpoint, ids, compute) for ids in groups]
    walk = streams[0].walk
    for index in track(range(len(walk.blocks)), "blocks"):
        tensors = walk.reader.read(walk.names(index))
        for each in streams:
            each.advance(index, tensors)
        del tensors
        trim_memory()
    return streams
