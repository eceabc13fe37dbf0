"""Texts of a strategy after any number of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meltpoint.evaluations._decoding import Strategy
from meltpoint.evaluations._decoding._contract import Batch, Text
from meltpoint.progress import track

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine


def write_texts(
    engine: Engine,
    strategy: Strategy,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos: frozenset[int],
    seed: int = 0,
    amateur: Engine | None = None,
) -> list[Text]:
    """The texts that a strategy writes after prompts in token numbers, in the prompts' order.

    Prompts are batched by length. A text sees neither the other texts of its batch nor the padding.
    """
    texts: list[Text] = [Text([]) for _ in prompts]
    lengths = [len(prompt) + max_new_tokens for prompt in prompts]
    for places in track(engine.text_batches(lengths, strategy.width), strategy.spelled):
        chosen = [prompts[place] for place in places]
        batch = Batch(engine, chosen, places, max_new_tokens, eos, seed, amateur)
        for place, text in zip(places, _write(strategy, batch), strict=True):
            texts[place] = text
    return texts


def _write(strategy: Strategy, batch: Batch) -> list[Text]:
    from meltpoint.lazy_import import torch

    with torch.no_grad():
        return strategy.module.write(batch, strategy.settings)
