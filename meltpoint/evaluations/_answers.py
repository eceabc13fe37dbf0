"""Answers that an engine writes to prompts, for all evaluations that generate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._degenerate import kinds_of
from meltpoint.evaluations.contract import Inputs
from meltpoint.files import write_json

if TYPE_CHECKING:
    import torch

    from meltpoint.evaluations.engines._engine import Engine


@dataclass(frozen=True)
class Generated:
    """An answer: its new tokens, their text without special tokens, and the names in
    `_degenerate.KINDS` that apply to it.
    """

    tokens: list[int]
    text: str
    degenerate: list[str]


@dataclass(frozen=True)
class Answers:
    """The answers to prompts, and the number of prompts that were cut from the left to fit."""

    generated: list[Generated]
    cut_prompts: int

    def warnings(self, context_length: int | None) -> list[str]:
        """A list of one sentence with the number of prompts that were cut; empty if none was."""
        if not self.cut_prompts:
            return []
        return [
            f"{self.cut_prompts:,} of {len(self.generated):,} prompts are longer than the model's "
            f"context of {context_length:,} tokens allows and were cut from the left"
        ]


class FiniteLogits:
    """A logits processor that changes nothing, and remembers texts whose logits were not finite.

    Minus infinity is allowed: it is the logit of a token that cannot follow. Each call gets the tokens
    and the logits of one text, [1, tokens] and [1, vocabulary].
    """

    def __init__(self) -> None:
        self._broken: set[tuple[int, ...]] = set()

    def __call__(self, tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        # This comparison is false for NaN too.
        if not bool((logits < float("inf")).all()):
            self._broken.add(tuple(tokens[0].tolist()))
        return logits

    def hold_for(self, prompt: Sequence[int], tokens: Sequence[int]) -> bool:
        """True if all logits were finite while these tokens were written after the prompt."""
        if not self._broken:
            return True
        text = (*prompt, *tokens)
        return all(text[:length] not in self._broken for length in range(len(prompt), len(text)))


def write_answers(
    engine: Engine, inputs: Inputs, prompts: Sequence[str], max_new_tokens: int
) -> Answers:
    """Greedy answers to the prompts, each up to the tokenizer's end token.

    A prompt that is too long for the model's context loses its beginning. Raises MeltpointError if
    `max_new_tokens` leaves no room for a prompt in the context.
    """
    from meltpoint.data.tokenization import tokenizer_of

    tokenizer = tokenizer_of(inputs.checkpoint)
    ids = [tokenizer(prompt, verbose=False).input_ids for prompt in prompts]
    room = _room(inputs.key, engine.context_length, max_new_tokens)
    fitting = [each if room is None else each[-room:] for each in ids]
    end = frozenset([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])
    finite = FiniteLogits()
    written = engine.generate(fitting, max_new_tokens, tuple(end), (finite,))
    generated = []
    for prompt, tokens in zip(fitting, written, strict=True):
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        holds = finite.hold_for(prompt, tokens)
        kinds = kinds_of(tokens, text, end=end, limit=max_new_tokens, finite=holds)
        generated.append(Generated(tokens, text, kinds))
    cut = sum(len(a) > len(b) for a, b in zip(ids, fitting, strict=True))
    return Answers(generated, cut)


def write_answers_by_task(
    engine: Engine, inputs: Inputs, prompts: Mapping[str, Sequence[str]], max_new_tokens: int
) -> Answers:
    """Greedy answers to the prompts of each task, one task after the other.

    Answers of tasks that were finished before a kill are read from `inputs.resume`. Raises
    MeltpointError if `max_new_tokens` leaves no room for a prompt in the model's context.
    """
    generated, cut = [], 0
    for task, asked in prompts.items():
        file = None if inputs.resume is None else inputs.resume / f"{task}.json"
        if file is not None and file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            answers = Answers(
                [Generated(**each) for each in kept["generated"]], kept["cut_prompts"]
            )
        else:
            answers = write_answers(engine, inputs, asked, max_new_tokens)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, asdict(answers))
        generated += answers.generated
        cut += answers.cut_prompts
    return Answers(generated, cut)


def _room(key: str, context_length: int | None, max_new_tokens: int) -> int | None:
    """The largest number of tokens of a prompt; None if there is no limit.

    Prompt and answer may exceed the context by one token, as the model never reads the last one.
    """
    if context_length is None:
        return None
    room = context_length - max_new_tokens + 1
    if room < 1:
        raise MeltpointError(
            f"{key}.max_new_tokens: {max_new_tokens} new tokens leave no room for a prompt in the "
            f"model's context of {context_length}: use fewer"
        )
    return room
