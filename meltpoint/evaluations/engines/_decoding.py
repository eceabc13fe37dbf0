"""The texts that an engine is writing."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch


class Decoding(ABC):
    """Texts that a model is writing, one a row; what they hold so far is in the model's cache.

    A decoding strategy is a loop over it: look at `logits`, choose, `append`. A search also lets rows
    go, repeats and reorders them by `select`.

    `logits`, float32 [rows, vocabulary], are those of each row's next token. `hidden_states`, where
    they were asked for, are those of the tokens that were read last (first the prompts, padded on the
    left; then one token a row): the embeddings' and each block's, [rows, tokens, width], the last with
    the final norm applied.
    """

    logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None = None

    @abstractmethod
    def append(self, tokens: Sequence[int]) -> None:
        """Reads one token more in each row."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows in this order: any may be left out or repeated."""

    def layer_logits(self, layer: int) -> torch.Tensor:
        """Logits of a layer: the head applied to its hidden states at the last token of each row.

        float32 [rows, vocabulary]; layer 0 is the embeddings. For texts with hidden states alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no hidden states")
