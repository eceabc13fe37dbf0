"""What decoding strategies are handed and return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch

    from meltpoint.evaluations.engines._engine import Engine


class StrategySettings(BaseModel):
    """Settings of a strategy; `with_commas` are those whose values may hold commas."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    with_commas: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Batch:
    """Prompts that are gone on with together.

    `places` are the prompts' places in their file. `eos` are tokens that end a text. `amateur` is the
    engine of the weaker model, for a strategy that contrasts two. A stochastic strategy draws from
    `generator`.
    """

    engine: Engine
    prompts: Sequence[Sequence[int]]
    places: Sequence[int]
    max_new_tokens: int
    eos: frozenset[int]
    seed: int = 0
    amateur: Engine | None = None

    def generator(self, text: int) -> torch.Generator:
        """Random numbers of a text, which depend on the seed and the place of its prompt alone."""
        import numpy as np
        import torch

        (state,) = np.random.SeedSequence((self.seed, self.places[text])).generate_state(
            1, np.uint64
        )
        return torch.Generator().manual_seed(int(state) >> 1)


@dataclass(frozen=True)
class Text:
    """New tokens of a text, the end token kept, and whether all logits were finite.

    A text ends where its next token's logits are not.
    """

    tokens: list[int]
    finite: bool = True
