"""Texts that the strategies write, as samples: one object for each prompt and seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations._decoding import Strategy
from meltpoint.evaluations._decoding._contract import Text
from meltpoint.evaluations._decoding._run import write_texts
from meltpoint.evaluations._degenerate import kinds_of
from meltpoint.evaluations._generation.amateurs import check_amateurs, open_amateur
from meltpoint.evaluations._generation.documents import Document
from meltpoint.evaluations.contract import Estimate, Inputs

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine


class Writer:
    """Writes texts after the documents' prompts, which are cut from the left to fit the context.

    `prompts` are token numbers, and `cut_prompts` is the number of prompts that were cut. Raises
    MeltpointError for an amateur with another vocabulary, for a prompt with an unknown token, and if
    `max_new_tokens` leaves no room for a prompt.
    """

    def __init__(
        self, engine: Engine, inputs: Inputs, settings: Any, documents: Sequence[Document]
    ) -> None:
        from meltpoint.data.tokenization import tokenizer_of

        check_amateurs(settings.parsed, inputs)
        self.engine, self._inputs, self._settings = engine, inputs, settings
        self._documents = documents
        self._tokenizer = tokenizer_of(inputs.checkpoint)
        ids = [self._ids(document) for document in documents]
        room = self._room(engine.context_length)
        self.prompts = [each if room is None else each[-room:] for each in ids]
        self.cut_prompts = sum(len(a) > len(b) for a, b in zip(ids, self.prompts, strict=True))
        end = self._tokenizer.eos_token_id
        self._eos = frozenset([] if end is None else [end])

    def write(self, strategy: Strategy) -> tuple[list[dict], Estimate]:
        """A strategy's samples over all of its seeds, and its speed in tokens per second.

        If the strategy does not apply to the model, the samples are without tokens, and both have the
        reason as `refused`.
        """
        try:
            return self._write(strategy)
        except NotApplicable as reason:
            empty = [
                {**self._sample(strategy, seed, document, Text([])), "refused": str(reason)}
                for seed in self._settings.seeds_of(strategy)
                for document in self._documents
            ]
            return empty, Estimate(refused=str(reason))

    def _write(self, strategy: Strategy) -> tuple[list[dict], Estimate]:
        samples, tokens, seconds = [], 0, 0.0
        with open_amateur(strategy, self._inputs) as amateur:
            for seed in self._settings.seeds_of(strategy):
                start = time.perf_counter()
                texts = write_texts(
                    self.engine,
                    strategy,
                    self.prompts,
                    self._settings.max_new_tokens,
                    self._eos,
                    seed,
                    amateur,
                )
                seconds += time.perf_counter() - start
                tokens += sum(len(text.tokens) for text in texts)
                samples += [
                    self._sample(strategy, seed, document, text)
                    for document, text in zip(self._documents, texts, strict=True)
                ]
        return samples, Estimate(tokens / seconds)

    def warnings(self) -> list[str]:
        """A list of one sentence with the number of prompts that were cut; empty if none was."""
        if not self.cut_prompts:
            return []
        return [
            f"{self.cut_prompts:,} of {len(self.prompts):,} prompts are longer than the model's "
            f"context of {self.engine.context_length:,} tokens allows and were cut from the left"
        ]

    def tokens_of(self, text: str) -> list[int]:
        """Token numbers of a text by the model's tokenizer."""
        return self._tokenizer(text, verbose=False).input_ids

    def _sample(self, strategy: Strategy, seed: int, document: Document, text: Text) -> dict:
        answer = self._tokenizer.decode(text.tokens, skip_special_tokens=True)
        limit = self._settings.max_new_tokens
        return {
            "strategy": strategy.spelled,
            "prompt": document.place,
            "seed": seed,
            "tokens": text.tokens,
            "text": answer,
            "degenerate": kinds_of(
                text.tokens, answer, end=self._eos, limit=limit, finite=text.finite
            ),
        }

    def _ids(self, document: Document) -> list[int]:
        if isinstance(document.prompt, str):
            return self.tokens_of(document.prompt)
        if max(document.prompt) >= self.engine.vocabulary or min(document.prompt) < 0:
            raise MeltpointError(
                f"{self._inputs.key}: document {document.place} has a token that is none of the "
                f"model's {self.engine.vocabulary}"
            )
        return list(document.prompt)

    def _room(self, context_length: int | None) -> int | None:
        """The largest number of tokens of a prompt; None if there is no limit.

        All new tokens have room after it, as some strategies read the last one too.
        """
        if context_length is None:
            return None
        room = context_length - self._settings.max_new_tokens
        if room < 1:
            raise MeltpointError(
                f"{self._inputs.key}.max_new_tokens: {self._settings.max_new_tokens} new tokens leave "
                f"no room for a prompt in the model's context of {context_length}: use fewer"
            )
        return room
