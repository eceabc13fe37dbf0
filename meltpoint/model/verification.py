"""A base checkpoint is read once, and run once on two short texts, before anything is made of it."""

import logging
from pathlib import Path

import torch
from transformers import PreTrainedModel

from meltpoint.checkpoints.index import index
from meltpoint.checkpoints.io import Reader
from meltpoint.checkpoints.linears import Linear, describe
from meltpoint.errors import MeltpointError, reason_of
from meltpoint.model import empty_model

# Tokens of each text. They differ in the last one alone.
LENGTH = 8
# The rows of a batch differ by rounding: of the logits' standard deviation, by 1e-6 or so.
TOLERANCE = 1e-4


@torch.no_grad()
def verify(folder: Path) -> dict[str, Linear]:
    """Reads every weight once; returns facts about the decoder's linears, by name.

    Raises MeltpointError where a weight is missing, misshapen, unreadable or not finite, and for a
    model that cannot be run or looks ahead: whose logits depend on tokens that come later.
    """
    index(folder)
    model = empty_model.build(folder, torch.float32)
    weights = BlockByBlock(folder, model)
    ids = two_texts(model)
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    except MeltpointError:
        raise
    except Exception as error:
        logging.exception("%s cannot be run", folder)
        raise MeltpointError(
            f"{folder}: {type(model).__name__} cannot be run on two texts of {LENGTH} tokens: "
            f"{reason_of(error)}"
        ) from None
    weights.read_the_rest()
    check_causal(folder, model, logits)
    return weights.linears


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
    """Raises MeltpointError where the logits before the last token are not the same in both texts.

    `logits` are those of `two_texts`, float32 [2, LENGTH, vocabulary].
    """
    before = logits[:, :-1]
    moved = (before[0] - before[1]).abs().max() / before.std()
    if moved > TOLERANCE:
        raise MeltpointError(
            f"{folder}: {type(model).__name__} looks ahead: another last token changes the logits of "
            f"those before it (by {moved:.1g} of their standard deviation), so a perplexity would "
            "mean nothing: name a model that is a decoder by its config"
        )


class BlockByBlock:
    """The weights of an empty model: each block's are read when it runs, and let go of afterwards.

    `linears` are facts about the decoder's linears that were read so far, by name.
    """

    def __init__(self, folder: Path, model: PreTrainedModel) -> None:
        self.model = model
        self.path, self.blocks = empty_model.decoder_blocks(model)
        self.reader = Reader(folder, model.dtype, torch.device("cpu"))
        tied = empty_model.tied_names(model)
        self.reader.tie(tied)
        self.linears: dict[str, Linear] = {}
        names = empty_model.parameters_of(model, model, "")
        outer = [name for name in names if not name.startswith(f"{self.path}.")]
        # While weights that are tied are still one parameter.
        self.names = [
            empty_model.parameters_of(model, block, f"{self.path}.{i}")
            for i, block in enumerate(self.blocks)
        ]
        empty_model.fill(model, self.reader.read(outer))
        empty_model.tie(model, tied)
        self.waiting = set(range(len(self.blocks)))
        for i, block in enumerate(self.blocks):
            block.register_forward_pre_hook(lambda *_, i=i: self._fill(i))
            block.register_forward_hook(lambda *_, i=i: self._empty(i))

    def read_the_rest(self) -> None:
        """Reads the blocks that did not run."""
        for i in sorted(self.waiting):
            self._fill(i)
            self._empty(i)

    def _fill(self, i: int) -> None:
        empty_model.fill(self.model, self.reader.read(self.names[i]))
        for name, module in empty_model.linears(self.blocks[i]).items():
            self.linears[f"{self.path}.{i}.{name}"] = describe(module.weight, None, None)
        self.waiting.discard(i)

    def _empty(self, i: int) -> None:
        empty_model.empty(self.model, self.names[i])
