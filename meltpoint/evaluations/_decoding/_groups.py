"""Group beam search, of which beam search is the case of one group.

Scores, pools and the end of a search are those that transformers had until 4.46 (length penalty 1,
early_stopping false), with one difference: a group that has ended chooses no tokens, so that later
groups are not kept from any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from meltpoint.evaluations._decoding._contract import Batch, Text
from meltpoint.lazy_import import torch

# Sum of log probabilities of all beams but a group's first at the start: the beams begin alike, and
# without it the group would choose the same token several times.
LEFT_OUT = -1e9


@dataclass
class Group:
    """Beams of one group of a text.

    `beams` are the new tokens of each beam, `sums` their sums of log probabilities, float32 [size].
    `ended` are finished texts: (mean log probability, new tokens).
    """

    size: int
    beams: list[list[int]]
    sums: torch.Tensor
    ended: list[tuple[float, list[int]]] = field(default_factory=list)
    done: bool = False

    def add(self, total: float, tokens: list[int]) -> None:
        """Adds a finished text with the sum `total` of log probabilities; keeps the `size` best."""
        self.ended.append((total / len(tokens), tokens))
        if len(self.ended) > self.size:
            self.ended.remove(min(self.ended, key=lambda each: each[0]))

    def take(
        self, totals: Sequence[float], places: Sequence[tuple[int, int]], eos: frozenset[int]
    ) -> tuple[list[int], list[int]]:
        """Chooses the next beams; returns for each the beam that it continues, and its new token.

        totals: sums of the candidates in falling order. places: (beam, token) of each candidate.
        """
        rows, tokens, sums = [], [], []
        for rank, (total, (beam, token)) in enumerate(zip(totals, places, strict=True)):
            if token in eos:
                if rank < self.size:
                    self.add(total, [*self.beams[beam], token])
                continue
            rows.append(beam)
            tokens.append(token)
            sums.append(total)
            if len(rows) == self.size:
                break
        self.beams = [[*self.beams[row], token] for row, token in zip(rows, tokens, strict=True)]
        self.sums = self.sums.new_tensor(sums)
        length = len(self.beams[0])
        if len(self.ended) == self.size:
            self.done = min(score for score, _ in self.ended) >= totals[0] / length
        return rows, tokens

    def finish(self) -> list[tuple[float, list[int]]]:
        """Finished texts, (mean log probability, new tokens), the best last.

        The beams of a search that reached the limit of new tokens count as finished.
        """
        if not self.done:
            for total, beam in zip(self.sums.tolist(), self.beams, strict=True):
                self.add(total, beam)
        return sorted(self.ended, key=lambda each: each[0])


class Search:
    """Group beam search of one text."""

    def __init__(self, beams: int, groups: int, penalty: float, eos: frozenset[int]) -> None:
        size = beams // groups
        sums = torch.full((size,), LEFT_OUT)
        sums[0] = 0.0
        self.size, self.penalty, self.eos = size, penalty, eos
        self.groups = [Group(size, [[] for _ in range(size)], sums.clone()) for _ in range(groups)]
        self.finite = True

    @property
    def done(self) -> bool:
        """True if no group continues."""
        return not self.finite or all(group.done for group in self.groups)

    def step(self, logits: torch.Tensor) -> tuple[list[int], list[int]]:
        """Chooses the next tokens from logits, float32 [beams, vocabulary].

        Returns for each beam the beam that it continues, and its new token. A group that has ended
        repeats its first beam, to keep the number of rows; these rows are not used.
        """
        if not bool((logits < float("inf")).all()):
            self.finite = False
            return list(range(len(logits))), [0] * len(logits)
        scores = logits.log_softmax(dim=-1)
        chosen = torch.zeros(scores.shape[-1], device=scores.device)
        rows, tokens = [], []
        for first, group in zip(range(0, len(scores), self.size), self.groups, strict=True):
            if group.done:
                beams, new = [0] * self.size, [0] * self.size
            else:
                part = scores[first : first + self.size] - self.penalty * chosen
                beams, new = self._best(group, part)
                chosen += torch.bincount(
                    torch.tensor(new, device=scores.device), minlength=len(chosen)
                )
            rows += [first + beam for beam in beams]
            tokens += new
        return rows, tokens

    def _best(self, group: Group, scores: torch.Tensor) -> tuple[list[int], list[int]]:
        totals = (scores + group.sums.to(scores.device)[:, None]).flatten()
        count = min(max(2, 1 + len(self.eos)) * self.size, len(totals))
        best, places = totals.topk(count)
        vocabulary = scores.shape[-1]
        pairs = [divmod(place, vocabulary) for place in places.tolist()]
        return group.take(best.tolist(), pairs, self.eos)

    def text(self) -> Text:
        """The text with the largest mean log probability, of the last group among equals."""
        if not self.finite:
            return Text(self.groups[0].beams[0], finite=False)
        ended = [each for group in self.groups for each in group.finish()]
        return Text(sorted(ended, key=lambda each: each[0])[-1][1])


def search(batch: Batch, beams: int, groups: int, penalty: float) -> list[Text]:
    """The best text after each prompt, in the prompts' order."""
    searches = [Search(beams, groups, penalty, batch.eos) for _ in batch.prompts]
    going_on = list(range(len(searches)))
    rows = len(searches) * beams
    with batch.engine.decoding(batch.prompts, batch.max_new_tokens, rows) as decoding:
        decoding.select([text for text in going_on for _ in range(beams)])
        for step in range(batch.max_new_tokens):
            parents, tokens, left = [], [], []
            for place, text in enumerate(going_on):
                first = place * beams
                beam_rows, new = searches[text].step(decoding.logits[first : first + beams])
                if not searches[text].done:
                    parents += [first + row for row in beam_rows]
                    tokens += new
                    left.append(text)
            going_on = left
            if not going_on or step == batch.max_new_tokens - 1:
                break
            decoding.select(parents)
            decoding.append(tokens)
    return [each.text() for each in searches]
