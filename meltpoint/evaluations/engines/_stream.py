"""Texts that go through a checkpoint block by block: one block's weights are held at a time."""

from pathlib import Path

import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, return_memory, trim_memory
from meltpoint.evaluations.engines._places import only_these
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import quantize_inputs
from meltpoint.model.running import recorders, running
from meltpoint.progress import track


class Stream:
    """Texts of one length, int64 [texts, length], and their hidden states on the way."""

    def __init__(self, checkpoint: Path, ids: torch.Tensor, compute: Compute) -> None:
        reader = Reader(checkpoint, compute.torch_dtype, compute.torch_device)
        self.walk = Walk(reader, ids, compute)
        if reader.format is not None and (inputs := reader.format.inputs()):
            quantize_inputs(self.walk.model, reader, inputs)
        # While tied weights are still one parameter.
        self._tied = empty_model.tied_names(self.walk.model)
        self._head_names = self._names_behind_blocks()
        self.walk.embed()

    def _names_behind_blocks(self) -> list[str]:
        """The parameters outside the blocks, but for an embeddings' table that is not the head too."""
        model = self.walk.model
        table = model.get_input_embeddings().weight
        tied = model.get_output_embeddings().weight is table
        parameters = dict(model.named_parameters())
        names = self.walk.other_names()
        return [name for name in names if tied or parameters.get(name) is not table]

    def advance(self, index: int, tensors: dict[str, torch.Tensor]) -> None:
        """Takes the hidden states through a block with these weights."""
        empty_model.fill(self.walk.model, tensors)
        self.walk.advance(index)
        empty_model.empty(self.walk.model, tensors)

    def read_head(self) -> None:
        """Reads what comes after the blocks."""
        model = self.walk.model
        empty_model.fill(model, self.walk.reader.read(self._head_names))
        empty_model.tie(model, self._tied)

    def close(self) -> None:
        """Lets go of the weights and the hidden states."""
        self.walk.hidden = self.walk.model = None

    def logits(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """The logits at places in ascending order of rows, in the model's dtype: [places, vocabulary].

        The model itself runs on these rows; in the place of its blocks' outputs are the hidden states.
        """
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
            return model(inputs_embeds=unused, use_cache=False).logits[0]


@torch.no_grad()
def stream(checkpoint: Path, groups: list[torch.Tensor], compute: Compute) -> list[Stream]:
    """Groups of texts, int64 [texts, length], as they are after the last block.

    All groups go through a block before the next one is read.
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
