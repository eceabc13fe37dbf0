"""contrastive_search: probable tokens whose hidden state is unlike all earlier ones.

Among the k most probable tokens v, the largest ``(1 - alpha) p(v) - alpha max_j cos(h_v, h_j)``, with
the last layer's hidden states of v and of all earlier positions (Su et al., arXiv 2202.06417). Each
candidate is read for its hidden state, so that a text takes k rows.
"""

from __future__ import annotations

from pydantic import Field

from meltpoint.evaluations._decoding._contract import Batch, StrategySettings, Text
from meltpoint.evaluations._decoding._rows import OpenTexts
from meltpoint.evaluations._decoding._states import StateHistory
from meltpoint.lazy_import import torch


class Settings(StrategySettings):
    """Settings of contrastive search."""

    alpha: float = Field(0.6, ge=0, le=1, description="Weight of the degeneration penalty.")
    k: int = Field(5, ge=1, description="Number of candidates, the most probable tokens.")


def width(settings: Settings) -> int:
    """One row for each candidate: a text's candidates are read in one pass."""
    return settings.k


def write(batch: Batch, settings: Settings) -> list[Text]:
    """The texts of the best candidates."""
    k = min(settings.k, batch.engine.vocabulary)
    texts, history = OpenTexts(batch), StateHistory()
    rows = len(batch.prompts) * k
    # One token more than in greedy search: candidates for the last token are read too.
    room = batch.max_new_tokens + 1
    with batch.engine.decoding(batch.prompts, room, rows, hidden_states=True) as decoding:
        history.read(decoding, texts.numbers, [len(text) for text in texts.read])
        for _ in range(batch.max_new_tokens):
            texts.drop_non_finite(decoding)
            if not texts.numbers:
                break
            _write_token(decoding, texts, history, k, settings.alpha)
    return texts.texts()


def _write_token(decoding, texts: OpenTexts, history: StateHistory, k: int, alpha: float) -> None:
    """Reads the candidates of each text and keeps the best one."""
    numbers = texts.numbers
    values, candidates = decoding.logits.softmax(dim=-1).topk(k)
    decoding.select([row for row in range(len(numbers)) for _ in range(k)])
    decoding.append(candidates.flatten().tolist())
    states = decoding.hidden_states[-1][:, -1].float().unflatten(0, (len(numbers), k))
    penalties = torch.stack([_penalty(states[row], history[n]) for row, n in enumerate(numbers)])
    best = ((1 - alpha) * values - alpha * penalties).argmax(dim=-1)
    for row, (number, place) in enumerate(zip(numbers, best, strict=True)):
        history.add(number, states[row, place])
    places = best.tolist()
    tokens = candidates.gather(1, best[:, None])[:, 0].tolist()
    rows = texts.add(tokens)
    if rows:
        decoding.select([row * k + places[row] for row in rows])


def _penalty(candidates, earlier):
    """For each candidate's state the largest cosine with an earlier state, float32 [candidates].

    candidates: [candidates, width]. earlier: [positions, width].
    """
    normalize = torch.nn.functional.normalize
    return (normalize(candidates, dim=-1) @ normalize(earlier, dim=-1).T).amax(dim=-1)
