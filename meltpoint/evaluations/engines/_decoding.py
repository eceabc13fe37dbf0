"""The interface to texts that an engine is writing token by token."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch


class Decoding(ABC):
    """Texts that a model is writing, one for each row; the model's cache holds the tokens so far.

    A decoding strategy is a loop: it reads `logits`, chooses a token for each row, and calls `append`.
    A search also drops, repeats and reorders rows with `select`.

    `logits`, float32 [rows, vocabulary], are those of each row's next token. `hidden_states` are None
    unless they were asked for. They belong to the tokens of the latest pass: first the prompts, padded
    on the left, then one token for each row. They are the states of the embeddings and of each block,
    [rows, tokens, width]; the final norm is applied to the last.
    """

    logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None = None

    @abstractmethod
    def append(self, tokens: Sequence[int]) -> None:
        """Lets the model read one more token in each row."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows, in this order; a row may be left out or repeated."""

    def layer_logits(self, layer: int) -> torch.Tensor:
        """Logits of a layer, float32 [rows, vocabulary]: the head on its states at each last token.

        Layer 0 is the embeddings. Only for texts that keep hidden states.
        """
        raise NotImplementedError(f"{type(self).__name__} has no hidden states")
