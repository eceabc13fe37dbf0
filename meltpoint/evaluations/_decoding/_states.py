"""Hidden states of all positions of texts that are being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meltpoint.lazy_import import torch

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._decoding import Decoding


class StateHistory:
    """The last layer's hidden states, float32 [tokens, width] for each text, without padding."""

    def __init__(self) -> None:
        self._states: dict[int, torch.Tensor] = {}

    def __getitem__(self, number: int) -> torch.Tensor:
        return self._states[number]

    def read(self, decoding: Decoding, numbers: Sequence[int], lengths: Sequence[int]) -> None:
        """Adds the states of the latest pass.

        numbers: the text of each row. lengths: number of tokens of each text so far; the states of
        those that are not yet known are at the end of the row, as prompts are padded on the left.
        """
        last = decoding.hidden_states[-1]
        for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
            known = self._states.get(number)
            new = last[row, -(length - (0 if known is None else len(known))) :].float()
            self._states[number] = new if known is None else torch.cat([known, new])

    def add(self, number: int, state: torch.Tensor) -> None:
        """Adds the state of one position, [width]."""
        self._states[number] = torch.cat([self._states[number], state[None].float()])
