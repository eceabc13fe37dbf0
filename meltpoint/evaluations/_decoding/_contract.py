"""The arguments and the results of decoding strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch

    from meltpoint.evaluations.engines._engine import Engine


class StrategySettings(BaseModel):
    """Settings of a strategy; `with_commas` names the settings whose values may hold commas."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    with_commas: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Batch:
    """Prompts, in token numbers, after which a strategy writes texts in one pass.

    `places` are the prompts' places in their file. `eos` are tokens that end a text. `amateur` is the
    engine of the weaker model, for a strategy that contrasts two models. A stochastic strategy draws
    from `generator`.
    """

    engine: Engine
    prompts: Sequence[Sequence[int]]
    places: Sequence[int]
    max_new_tokens: int
    eos: frozenset[int]
    seed: int = 0
    amateur: Engine | None = None

    def generator(self, text: int) -> torch.Generator:
        """Generator for text number `text` of the batch.

        It depends on nothing but the seed and the place of the prompt, so that the batch has no
        influence on what is drawn.
        """
        import numpy as np
        import torch

        (state,) = np.random.SeedSequence((self.seed, self.places[text])).generate_state(
            1, np.uint64
        )
        return torch.Generator().manual_seed(int(state) >> 1)


@dataclass(frozen=True)
class Text:
    """New tokens of a text, the end token included, and whether all logits were finite.

    A text ends before the first token whose logits are not finite.
    """

    tokens: list[int]
    finite: bool = True
