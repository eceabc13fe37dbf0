"""fsd_d: frustratingly simple decoding with an n-gram model as the anti-model (FSD-d).

Among the k most probable tokens v, the largest ``(1 - alpha) p(v) - alpha w(v)``. w is the probability
that an n-gram model of the prompt and the text so far gives v (Yang et al., arXiv 2305.12675). Orders
n to 1 are interpolated: an order whose context was followed by v takes the share `SMOOTHING` of what
longer ones left, times c(context, v) / (c(context) + 1); the unigram takes the rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import Field

from meltpoint.evaluations._decoding import _rows
from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.lazy_import import torch

# Share that an order of n-grams takes of the weight that longer orders left.
SMOOTHING = 0.9


class Settings(StrategySettings):
    """Settings of FSD-d."""

    alpha: float = Field(0.6, ge=0, le=1, description="Weight of the anti-model.")
    k: int = Field(5, ge=1, description="Number of candidates, the most probable tokens.")
    n: int = Field(3, ge=1, description="Order of the n-gram model.")


class NGrams:
    """Counts of a text's n-grams up to an order, updated token by token."""

    def __init__(self, order: int) -> None:
        self.order = order
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], Counter] = defaultdict(Counter)
        self._total: Counter = Counter()

    def add(self, token: int) -> None:
        """Counts the token after each context that it follows."""
        for context in self._contexts():
            self._after[context][token] += 1
            self._total[context] += 1
        self._tokens.append(token)

    def extend(self, text: Sequence[int]) -> None:
        """Counts the tokens of a text that are not counted yet, those at its end."""
        for token in text[len(self._tokens) :]:
            self.add(token)

    def penalty(self, token: int) -> float:
        """The n-gram model's probability that the token comes next.

        It is 0 for a text of fewer than n - 1 tokens.
        """
        if len(self._tokens) < self.order - 1:
            return 0.0
        penalty, rest = 0.0, 1.0
        for context in self._contexts():
            count = self._after[context][token] if context in self._after else 0
            if not count:
                continue
            if context:
                penalty += rest * SMOOTHING * count / (self._total[context] + 1)
                rest -= rest * SMOOTHING
            else:
                penalty += rest * count / self._total[context]
        return penalty

    def _contexts(self) -> list[tuple[int, ...]]:
        """Contexts of the next token: the last n - 1, ..., 1, 0 tokens."""
        longest = min(self.order - 1, len(self._tokens))
        return [tuple(self._tokens[len(self._tokens) - i :]) for i in range(longest, -1, -1)]


class Chooser:
    """Chooses tokens with an n-gram model of each text."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models: dict[int, NGrams] = {}

    def __call__(self, decoding, numbers: Sequence[int], read: Sequence[Sequence[int]]):
        """The next token of each row, int64 [rows]."""
        probabilities = decoding.logits.softmax(dim=-1)
        values, candidates = probabilities.topk(min(self._settings.k, probabilities.shape[-1]))
        rows = zip(numbers, read, values.tolist(), candidates.tolist(), strict=True)
        return torch.tensor([self._best(*row) for row in rows])

    def _best(self, number: int, text: Sequence[int], values: list[float], tokens: list[int]):
        model = self._models.setdefault(number, NGrams(self._settings.n))
        model.extend(text)
        alpha = self._settings.alpha
        scores = [
            (1 - alpha) * value - alpha * model.penalty(token)
            for value, token in zip(values, tokens, strict=True)
        ]
        return tokens[scores.index(max(scores))]


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The texts of the best candidates."""
    return _rows.write(batch, Chooser(settings))
