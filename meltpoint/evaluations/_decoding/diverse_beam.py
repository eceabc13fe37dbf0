"""diverse_beam: beam search in groups that keep away from each other's tokens.

Groups choose in turn at each step. A token's log probability is less by diversity_penalty for each beam
of an earlier group that chose the token at this step (Vijayakumar et al., arXiv 1610.02424). The text
is the best of all groups. One group, or a penalty of 0, gives beam search.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.evaluations._decoding._groups import search


class Settings(StrategySettings):
    """Settings of diverse beam search."""

    beams: int = Field(4, ge=1, description="Number of beams of all groups together.")
    groups: int = Field(2, ge=1, description="Number of groups.")
    diversity_penalty: float = Field(1.0, ge=0, description="Penalty of a token chosen before.")

    @model_validator(mode="after")
    def _groups_divide_beams(self) -> Self:
        if self.beams % self.groups:
            raise ValueError(
                f"{self.beams} beams cannot be divided into {self.groups} groups of one size"
            )
        return self


def width(settings: Settings) -> int:
    """A row for each beam."""
    return settings.beams


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The best text of all groups."""
    return search(batch, settings.beams, settings.groups, settings.diversity_penalty)
