"""beam: beam search, the text with the largest mean log probability that is found.

It is transformers' own, with length penalty 1 and without early stopping. An engine that is not
transformers runs the search of diverse_beam with one group, which gives the same texts.
"""

from __future__ import annotations

from pydantic import Field

from meltpoint.evaluations._decoding import _groups
from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text


class Settings(StrategySettings):
    """Settings of beam search."""

    beams: int = Field(4, ge=1, description="Number of beams.")


def width(settings: Settings) -> int:
    """A row for each beam."""
    return settings.beams


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The best text after each prompt."""
    if not batch.engine.runs_transformers:
        return _groups.search(batch, settings.beams, groups=1, penalty=0.0)
    from meltpoint.evaluations.engines import _generate

    texts = _generate.beam_search(
        batch.engine, batch.prompts, batch.max_new_tokens, settings.beams, batch.eos
    )
    return [Text(tokens, finite) for tokens, finite in texts]
