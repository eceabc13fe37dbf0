"""greedy: the most probable token, again and again."""

from __future__ import annotations

from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.evaluations._decoding._rows import most_probable
from meltpoint.evaluations._decoding._rows import write as write_chosen


class Settings(StrategySettings):
    """Greedy decoding has none."""


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The most probable text, token by token."""
    return write_chosen(batch, most_probable)
