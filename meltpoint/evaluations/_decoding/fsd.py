"""fsd: frustratingly simple decoding with hidden states as the anti-model (FSD).

Among the k most probable tokens v, the largest ``(1 - alpha) p(v) - alpha w(v)``. w(v) is the largest
cosine between the last position's hidden state and those of positions that v followed, clamped to
[0, 1], and 0 for a v that followed none (Yang et al., arXiv 2305.12675). With n above 2, the states of
n - 1 positions in a row are compared as one. Hidden states are those after the final norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from meltpoint.evaluations._decoding import _rows
from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.evaluations._decoding._states import StateHistory
from meltpoint.lazy_import import torch


class Settings(StrategySettings):
    """Settings of FSD."""

    alpha: float = Field(0.4, ge=0, le=1, description="Weight of the anti-model.")
    k: int = Field(5, ge=1, description="Number of candidates, the most probable tokens.")
    n: int = Field(2, ge=2, description="Order of the anti-model: n - 1 states are compared.")


class Chooser:
    """Chooses tokens with the hidden states of each text."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._history = StateHistory()

    def __call__(self, decoding, numbers: Sequence[int], read: Sequence[Sequence[int]]):
        """The next token of each row, int64 [rows]."""
        self._history.read(decoding, numbers, [len(text) for text in read])
        probabilities = decoding.logits.softmax(dim=-1)
        values, candidates = probabilities.topk(min(self._settings.k, probabilities.shape[-1]))
        penalties = torch.stack(
            [
                penalties_of(self._history[number], text, self._settings.n, probabilities.shape[-1])
                for number, text in zip(numbers, read, strict=True)
            ]
        )
        alpha = self._settings.alpha
        scores = (1 - alpha) * values - alpha * penalties.gather(1, candidates)
        return candidates.gather(1, scores.argmax(dim=-1, keepdim=True))[:, 0]


def penalties_of(
    states: torch.Tensor, tokens: Sequence[int], n: int, vocabulary: int
) -> torch.Tensor:
    """The anti-model's penalty of each token, float32 [vocabulary].

    It is 0 for a text of fewer than n tokens. states: hidden states of the text's tokens,
    [tokens, width].
    """
    penalties = states.new_zeros(vocabulary)
    if len(states) < n:
        return penalties
    windows = states.unfold(0, n - 1, 1).flatten(1)
    unit = torch.nn.functional.normalize(windows, dim=-1)
    similarity = (unit[:-1] @ unit[-1]).clamp(0, 1)
    following = torch.tensor(list(tokens[n - 1 :]), device=states.device)
    return penalties.scatter_reduce(0, following, similarity, "amax")


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The texts of the best candidates."""
    return _rows.write(batch, Chooser(settings), hidden_states=True)
