"""A model's head alone: logits from the hidden states that the model hands to it."""

from pathlib import Path

import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.running import knows_returned, recorders, running


class Head:
    """The head of a checkpoint, with what the model does to its logits (a soft cap, a scale).

    Weights of blocks are not read. `vocabulary` is the number of logits of a token.
    """

    def __init__(self, checkpoint: Path, compute: Compute) -> None:
        reader = Reader(checkpoint, compute.torch_dtype, compute.torch_device)
        self._walk = Walk(reader, torch.zeros(1, 2, dtype=torch.long), compute)
        model = self._walk.model
        self.vocabulary = model.config.get_text_config().vocab_size
        self._width = model.get_input_embeddings().weight.shape[1]
        tied, names = empty_model.tied_names(model), names_behind_blocks(self._walk)
        if not knows_returned(self._walk.blocks):
            self._walk.embed()
        empty_model.fill(model, reader.read(names))
        empty_model.tie(model, tied)

    @torch.no_grad()
    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [tokens, vocabulary] of the head's inputs [tokens, width], in their dtype.

        The model itself runs on a single dummy token, and these hidden states replace the input of its
        head.
        """
        model = self._walk.model
        unused = hidden.new_zeros(1, 1, self._width)
        handle = model.get_output_embeddings().register_forward_pre_hook(
            lambda _, inputs: (hidden[None], *inputs[1:])
        )
        try:
            with recorders(self._walk.blocks), running(model, self._walk.reader.folder):
                return model(inputs_embeds=unused, use_cache=False).logits[0]
        finally:
            handle.remove()


def names_behind_blocks(walk: Walk) -> list[str]:
    """Names of the parameters outside the blocks, without an embedding table that is not also the head.

    The weights of the walk's model must still be tied.
    """
    model = walk.model
    table = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is table
    parameters = dict(model.named_parameters())
    return [name for name in walk.other_names() if tied or parameters.get(name) is not table]
