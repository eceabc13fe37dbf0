"""Passes that answer requests for likelihoods, and batches of texts that are read together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from meltpoint.errors import MeltpointError

Request = tuple[Sequence[int], Sequence[int]]


@dataclass
class Pass:
    """Tokens that are read once, the positions whose logits count, and the requests' numbers."""

    tokens: tuple[int, ...]
    positions: list[int] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens)


def passes(requests: Sequence[Request], longest: int | None) -> list[Pass]:
    """Passes that score the requests; a request that begins a longer one shares its pass.

    longest: the model's number of positions, None without a limit. Raises MeltpointError for a request
    without context or continuation, and for one that is too long.
    """
    inputs = [_inputs(index, request) for index, request in enumerate(requests)]
    check_lengths((len(tokens) for tokens in inputs), longest)
    carriers: dict[tuple[int, ...], Pass] = {}
    later: Pass | None = None
    # In falling order a sequence comes directly after the sequences that begin with it.
    for tokens in sorted(set(inputs), reverse=True):
        if later is None or later.tokens[: len(tokens)] != tokens:
            later = Pass(tokens)
        carriers[tokens] = later
    for index, (tokens, (context, _)) in enumerate(zip(inputs, requests, strict=True)):
        carrier = carriers[tokens]
        carrier.requests.append(index)
        carrier.positions += range(len(context) - 1, len(tokens))
    found = list({id(each): each for each in carriers.values()}.values())
    for each in found:
        each.positions = sorted(set(each.positions))
    return found


def _inputs(index: int, request: Request) -> tuple[int, ...]:
    """The tokens that the model has to read: the request without its last token."""
    context, continuation = request
    if not len(context) or not len(continuation):
        lacks = "continuation" if len(context) else "context"
        raise MeltpointError(
            f"request {index} has no {lacks}: a likelihood is of tokens after at least one other"
        )
    return (*context, *continuation[:-1])


def check_lengths(lengths: Iterable[int], longest: int | None) -> None:
    """Raises MeltpointError if a length exceeds the number of tokens that the model can read."""
    most = max(lengths, default=0)
    if longest is not None and most > longest:
        raise MeltpointError(
            f"a text of {most} tokens does not fit the model's context of {longest}: cut it from the "
            "left, or ask for fewer new tokens"
        )


def score(logits: torch.Tensor, continuation: Sequence[int]) -> tuple[float, bool]:
    """The log probability of a continuation in nats, and true if each token is the most probable one.

    logits: those of the continuation's tokens, float32 [tokens, vocabulary].
    """
    targets = torch.tensor(list(continuation), device=logits.device)
    chosen = logits.log_softmax(dim=-1).gather(1, targets[:, None])
    greedy = bool((logits.argmax(dim=-1) == targets).all())
    # The sum is in float32 and over one row, as in lm-eval: beyond 1,024 nats another order or
    # precision would move it by more than 1e-4.
    return float(chosen[:, 0].sum()), greedy


def batches(
    lengths: Sequence[int],
    tokens: int | None = None,
    most: int | None = None,
    rows: Sequence[int] = (),
    most_rows: int = 0,
    padding: bool = True,
) -> list[list[int]]:
    """Batches of texts that are read together, as lists of the texts' numbers, the longest first.

    A batch is padded to its first text. It holds at most `most` texts, or at most `tokens` tokens with
    the padding. With `rows`, the number of logits that each text needs, it also has at most `most_rows`
    logits. Without `padding` its texts have one length. A text that exceeds a limit is a batch of one.
    """
    found: list[list[int]] = []
    logits = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        needed = rows[index] if rows else 0
        fits = found and (padding or lengths[index] == lengths[found[-1][0]])
        if fits and _has_room(found[-1], lengths, tokens, most) and logits + needed <= most_rows:
            found[-1].append(index)
            logits += needed
        else:
            found.append([index])
            logits = needed
    return found


def _has_room(batch: list[int], lengths, tokens: int | None, most: int | None) -> bool:
    size = len(batch) + 1
    if most is not None:
        return size <= most
    return size * lengths[batch[0]] <= tokens


def check_prompts(
    prompts: Sequence[Sequence[int]], max_new_tokens: int, longest: int | None
) -> None:
    """Raises MeltpointError for an empty prompt, or one that leaves no room for the new tokens."""
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise MeltpointError(
                f"prompt {index} is empty: begin it with a beginning-of-text token"
            )
    # The last new token is never read.
    check_lengths((len(prompt) + max_new_tokens - 1 for prompt in prompts), longest)
