"""dola: what the last layer finds probable and an earlier one does not (DoLa).

The head reads the hidden states of each candidate layer. The one whose distribution differs most from
the mature layer's, by ``(KL(M || q_l) + KL(M || q_m)) / 2`` with M their mean, is contrasted with it:
the largest ``log q_m - log q_l`` (Chuang et al., arXiv 2309.03883). Tokens whose q_m is below
relative_top times the largest are left out, and tokens that the text holds are penalised. Earlier
layers are read without the final norm, as in the official code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from meltpoint.errors import NotApplicable
from meltpoint.evaluations._decoding import _rows
from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.lazy_import import torch


def _layers(value: object) -> object:
    return re.findall(r"\d+", value) if isinstance(value, str) else value


class Settings(StrategySettings):
    """Settings of DoLa; layer 0 is the embeddings, layer l the output of block l."""

    with_commas = frozenset({"candidate_layers"})

    candidate_layers: Annotated[tuple[int, ...] | None, BeforeValidator(_layers)] = Field(
        None,
        min_length=1,
        description="Layers to choose from, such as `2-4-6`. Default: every second one of the first "
        "half, from 2 on.",
    )
    mature_layer: int | None = Field(
        None, ge=1, description="The layer that is contrasted with them. Default: the last."
    )
    relative_top: float = Field(
        0.1, ge=0, le=1, description="Least probability of a token, as a fraction of the largest."
    )
    repetition_penalty: float = Field(
        1.2, gt=0, description="Divides the score of a token that the text holds; 1: none."
    )


class Chooser:
    """Chooses tokens by the contrast of the mature layer with one of the candidate layers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, decoding, numbers: Sequence[int], read: Sequence[Sequence[int]]):
        """The next token of each row, int64 [rows]."""
        candidates, mature = self._layers(len(decoding.hidden_states) - 1)
        final = decoding.layer_logits(mature).log_softmax(dim=-1)
        early = torch.stack([decoding.layer_logits(l).log_softmax(dim=-1) for l in candidates])
        chosen = divergence(early, final).argmax(dim=0)
        scores = final - early[chosen, torch.arange(len(final), device=final.device)]
        if self._settings.relative_top:
            least = math.log(self._settings.relative_top) + final.amax(dim=-1, keepdim=True)
            scores = scores.masked_fill(final < least, -math.inf)
        for row, text in enumerate(read):
            penalize(scores[row], text, self._settings.repetition_penalty)
        return scores.argmax(dim=-1)

    def _layers(self, count: int) -> tuple[Sequence[int], int]:
        """Numbers of the candidate layers and of the mature layer in a model of `count` blocks.

        Raises NotApplicable unless all candidates come before the mature layer and the model has it.
        """
        mature = self._settings.mature_layer or count
        candidates = self._settings.candidate_layers
        if candidates is None:
            candidates = tuple(range(2, max(count // 2, 2) + 1, 2))
        if mature > count or max(candidates) >= mature:
            raise NotApplicable(
                f"dola contrasts layers {', '.join(map(str, candidates))} with layer {mature}, "
                f"and the model has {count} blocks"
            )
        return candidates, mature


def divergence(early: torch.Tensor, final: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence of early layers' distributions from the final one, [layers, rows].

    The mean distribution is the target, and the mean over the vocabulary replaces the sum, as in the
    official code. early: log probabilities [layers, rows, vocabulary]. final: [rows, vocabulary].
    """
    mean = 0.5 * (early.exp() + final.exp())
    return (torch.xlogy(mean, mean) - 0.5 * mean * (early + final)).mean(dim=-1)


def penalize(scores: torch.Tensor, text: Sequence[int], penalty: float) -> None:
    """Penalises the tokens of a text in place: positive scores are divided, negative ones multiplied.

    scores: [vocabulary].
    """
    tokens = torch.tensor(sorted(set(text)), device=scores.device)
    held = scores[tokens]
    scores[tokens] = torch.where(held < 0, held * penalty, held / penalty)


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The texts whose tokens have the largest contrasted log probabilities."""
    return _rows.write(batch, Chooser(settings), hidden_states=True)
