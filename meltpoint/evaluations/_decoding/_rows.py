"""Texts that are written token by token; each is one row of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from meltpoint.evaluations._decoding._contract import Batch, Text

if TYPE_CHECKING:
    import torch

    from meltpoint.evaluations.engines._decoding import Decoding

# A function that chooses the next token of each row, int64 [rows]. Its arguments are the open
# decoding, and for each row the number of its text in the batch and the text's tokens with the prompt.
Choose: TypeAlias = "Callable[[Decoding, Sequence[int], Sequence[Sequence[int]]], torch.Tensor]"


class OpenTexts:
    """The texts of a batch that have not ended; each is a row of the model's cache.

    For each row `numbers` holds the text's place in the batch, and `read` the tokens of its prompt and
    its new tokens.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._read = [list(prompt) for prompt in batch.prompts]
        self._finite = [True] * len(batch.prompts)
        self.numbers = list(range(len(batch.prompts)))

    @property
    def read(self) -> list[list[int]]:
        """For each row the tokens of its text, prompt included."""
        return [self._read[number] for number in self.numbers]

    def drop_non_finite(self, decoding: Decoding) -> None:
        """Ends the texts with a NaN or infinity in the logits of the next token.

        Minus infinity is allowed: a strategy gives it to tokens that must not follow.
        """
        finite = (decoding.logits < float("inf")).all(dim=-1).tolist()
        if all(finite):
            return
        for number, holds in zip(self.numbers, finite, strict=True):
            self._finite[number] = holds
        rows = [row for row, holds in enumerate(finite) if holds]
        self.numbers = [self.numbers[row] for row in rows]
        if rows:
            decoding.select(rows)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Adds a token to each row's text; returns the rows whose texts have not ended."""
        for text, token in zip(self.read, tokens, strict=True):
            text.append(token)
        rows = [row for row, token in enumerate(tokens) if token not in self._batch.eos]
        self.numbers = [self.numbers[row] for row in rows]
        return rows

    def texts(self) -> list[Text]:
        """All texts of the batch, in the order of its prompts."""
        prompts = self._batch.prompts
        return [
            Text(read[len(prompt) :], finite)
            for prompt, read, finite in zip(prompts, self._read, self._finite, strict=True)
        ]


def write_rows(decoding: Decoding, batch: Batch, choose: Choose) -> list[Text]:
    """Texts that `choose` writes token by token, in the prompts' order.

    Rows of texts that have ended are removed from `decoding`.
    """
    texts = OpenTexts(batch)
    for step in range(batch.max_new_tokens):
        texts.drop_non_finite(decoding)
        if not texts.numbers:
            break
        tokens = choose(decoding, texts.numbers, texts.read).tolist()
        rows = texts.add(tokens)
        if not rows or step == batch.max_new_tokens - 1:
            break
        if len(rows) < len(tokens):
            decoding.select(rows)
        decoding.append([tokens[row] for row in rows])
    return texts.texts()


def write(batch: Batch, choose: Choose, hidden_states: bool = False) -> list[Text]:
    """Texts that `choose` writes token by token on the batch's engine, in the prompts' order.

    With `hidden_states` the decoding keeps them, for `choose` to read.
    """
    decoding = batch.engine.decoding(
        batch.prompts, batch.max_new_tokens, hidden_states=hidden_states
    )
    with decoding as opened:
        return write_rows(opened, batch, choose)


def most_probable(decoding: Decoding, numbers: Sequence[int], read: Sequence) -> torch.Tensor:
    """The token with the largest logit in each row, int64 [rows]; a `Choose`."""
    return decoding.logits.argmax(dim=-1)
