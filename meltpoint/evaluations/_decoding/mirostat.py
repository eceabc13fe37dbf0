"""mirostat: top-k sampling whose k holds the text's surprise at a target (Mirostat 1).

The exponent s of Zipf's law is estimated from the 100 most probable tokens, k follows from it and from
the bound mu, and mu is moved by the surprise of the drawn token less the target tau, in bits
(Basu et al., arXiv 2007.14966). mu starts at 2 tau.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from meltpoint.evaluations._decoding import _rows
from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.lazy_import import torch

stochastic = True
# Number of ratios of neighbouring probabilities from which s is estimated.
RATIOS = 100


class Settings(StrategySettings):
    """Settings of Mirostat."""

    tau: float = Field(3.0, gt=0, description="The surprise of a token that is aimed at, in bits.")
    rate: float = Field(1.0, ge=0, description="The rate at which the bound follows the surprise.")


def zipf_exponent(probabilities: torch.Tensor) -> float:
    """Mirostat's estimate of s from probabilities in falling order, float32 [tokens]."""
    count = min(RATIOS, len(probabilities) - 1)
    top = probabilities[: count + 1].double()
    b = (top[:-1] / (top[1:] + 1e-9)).clamp(min=1).log()
    ranks = torch.arange(count, dtype=torch.float64, device=top.device)
    t = ((ranks + 2) / (ranks + 1)).log()
    return float((t * b).sum() / (t * t).sum())


def k_of(s: float, mu: float, vocabulary: int) -> int:
    """Number of most probable tokens to draw from, 1 to `vocabulary`.

    s: exponent of Zipf's law. mu: bound in bits. Where the formula gives no number, all tokens but one
    are drawn from.
    """
    e = s - 1
    try:
        k = round((e * 2**mu / (1 - vocabulary**-e)) ** (1 / s)) + 1
    except (ArithmeticError, ValueError, TypeError):
        k = vocabulary - 1
    return max(1, min(k, vocabulary))


class Chooser:
    """Draws tokens, each text with its own bound and random numbers."""

    def __init__(self, batch: Batch, settings: Settings) -> None:
        self._settings = settings
        self._bounds = [2 * settings.tau] * len(batch.prompts)
        self._generators = [batch.generator(text) for text in range(len(batch.prompts))]

    def __call__(self, decoding, numbers: Sequence[int], read: Sequence[Sequence[int]]):
        """The next token of each row, int64 [rows]."""
        rows = zip(decoding.logits.cpu(), numbers, strict=True)
        return torch.tensor([self._draw(logits, number) for logits, number in rows])

    def _draw(self, logits, number: int) -> int:
        values, tokens = logits.sort(descending=True)
        probabilities = values.softmax(dim=-1)
        k = k_of(zipf_exponent(probabilities), self._bounds[number], len(values))
        generator = self._generators[number]
        place = int(torch.multinomial(values[:k].softmax(dim=-1), 1, generator=generator))
        surprise = -math.log2(probabilities[place])
        self._bounds[number] -= self._settings.rate * (surprise - self._settings.tau)
        return int(tokens[place])


def write(batch: Batch, settings: Settings) -> list[Text]:
    """Texts of drawn tokens."""
    return _rows.write(batch, Chooser(batch, settings))
