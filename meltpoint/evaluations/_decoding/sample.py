"""sample: a token drawn from the model's distribution, cut as the settings say.

Temperature, top-k, top-p, min-p, typical and eta sampling are transformers' own, applied in its order.
Each is off by default.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from meltpoint.evaluations._decoding import _rows
from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.lazy_import import torch

stochastic = True


class Settings(StrategySettings):
    """Settings of sampling."""

    temperature: float = Field(1.0, gt=0, description="The logits are divided by it.")
    top_k: int = Field(0, ge=0, description="Number of the most probable tokens that stay; 0: all.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Probability of the tokens that stay; 1: all."
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="Least probability, as a fraction of the largest; 0: any."
    )
    typical: float = Field(
        1.0, gt=0, le=1, description="Probability of the typical tokens that stay; 1: all."
    )
    eta: float = Field(0.0, ge=0, lt=1, description="The cutoff of eta sampling; 0: none.")


def warpers(settings: Settings) -> list:
    """Logits processors of transformers, in its order, for the settings that are not off."""
    from transformers.generation import logits_process as hf

    each = (
        (settings.temperature != 1, hf.TemperatureLogitsWarper, settings.temperature),
        (settings.top_k > 0, hf.TopKLogitsWarper, settings.top_k),
        (settings.top_p < 1, hf.TopPLogitsWarper, settings.top_p),
        (settings.min_p > 0, hf.MinPLogitsWarper, settings.min_p),
        (settings.typical < 1, hf.TypicalLogitsWarper, settings.typical),
        (settings.eta > 0, hf.EtaLogitsWarper, settings.eta),
    )
    return [warper(value) for is_on, warper, value in each if is_on]


class Chooser:
    """Draws tokens, each text with random numbers of its own."""

    def __init__(self, batch: Batch, settings: Settings) -> None:
        self._warpers = warpers(settings)
        self._generators = [batch.generator(text) for text in range(len(batch.prompts))]

    def __call__(self, decoding, numbers: Sequence[int], read: Sequence[Sequence[int]]):
        """The next token of each row, int64 [rows]."""
        logits = decoding.logits.cpu()
        for warper in self._warpers:
            logits = warper(None, logits)
        rows = zip(logits.softmax(dim=-1), numbers, strict=True)
        return torch.cat([torch.multinomial(p, 1, generator=self._generators[n]) for p, n in rows])


def write(batch: Batch, settings: Settings) -> list[Text]:
    """Texts of drawn tokens."""
    return _rows.write(batch, Chooser(batch, settings))
