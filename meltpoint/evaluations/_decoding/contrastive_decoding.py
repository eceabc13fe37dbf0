"""contrastive_decoding: what an expert finds probable and an amateur does not.

Tokens whose expert's probability is below alpha times the largest one are left out. Of the others, the
largest ``(1 + beta) s_e - beta s_a``, with the logits of the expert and of the amateur (O'Brien and
Lewis, arXiv 2309.09117, after Li et al., arXiv 2210.15097). The amateur is run in float32.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

from pydantic import Field

from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.evaluations._decoding._rows import most_probable, write_rows
from meltpoint.lazy_import import torch


class Settings(StrategySettings):
    """Settings of contrastive decoding."""

    with_commas = frozenset({"amateur"})

    alpha: float = Field(
        0.1, gt=0, le=1, description="Least probability of a token, as a fraction of the largest."
    )
    beta: float = Field(0.5, ge=0, description="Weight of the contrast.")
    amateur: str = Field(
        min_length=1, description="A model of the study, or model/chain, with the same vocabulary."
    )


class Contrasted:
    """A decoding of two models, which read the same texts; `logits` are the contrasted ones.

    It has no hidden states, as those of the two models differ.
    """

    hidden_states = None

    def __init__(self, expert, amateur, settings: Settings) -> None:
        self._expert, self._amateur, self._settings = expert, amateur, settings

    @property
    def logits(self) -> torch.Tensor:
        """Contrasted logits, float32 [rows, vocabulary]; minus infinity for improbable tokens."""
        expert, amateur = self._expert.logits, self._amateur.logits.to(self._expert.logits.device)
        beta = self._settings.beta
        least = math.log(self._settings.alpha) + expert.amax(dim=-1, keepdim=True)
        scores = (1 + beta) * expert - beta * amateur
        return scores.masked_fill(expert < least, -math.inf)

    def append(self, tokens: Sequence[int]) -> None:
        """Lets both models read one more token in each row."""
        self._expert.append(tokens)
        self._amateur.append(tokens)

    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows, in this order, in both models."""
        self._expert.select(rows)
        self._amateur.select(rows)


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The texts whose tokens have the largest contrasted logits."""
    with _contrasted(batch, settings) as decoding:
        return write_rows(decoding, batch, most_probable)


@contextlib.contextmanager
def _contrasted(batch: Batch, settings: Settings) -> Iterator[Contrasted]:
    with (
        batch.engine.decoding(batch.prompts, batch.max_new_tokens) as expert,
        batch.amateur.decoding(batch.prompts, batch.max_new_tokens) as amateur,
    ):
        yield Contrasted(expert, amateur, settings)
