"""An engine in the form of lm-eval's class for models; tokens are those of its class `HFLM`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from transformers import PreTrainedTokenizerBase

from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.engines._engine import Engine

# lm-eval's default for a model that does not say how many tokens it can read.
DEFAULT_LENGTH = 2048
# A tokenizer of transformers without a limit has this length or more.
NO_LIMIT = int(1e20)
# Tokens at the end of a text in which a stop string is looked for while it is written.
LAST_TOKENS = 32
# Keys of a task's generation settings that leave decoding greedy whatever their value.
HARMLESS = {"until", "max_gen_toks", "temperature", "do_sample", "top_p", "top_k"}


class EngineModel(TemplateLM):
    """Answers lm-eval's requests with an engine.

    `cut` is the number of requests that were longer than the model's context and lost their beginning.
    """

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.engine, self.tokenizer, self.cut = engine, tokenizer, 0

    @property
    def max_length(self) -> int:
        """The largest number of tokens that the model reads."""
        if self.engine.context_length is not None:
            return self.engine.context_length
        longest = self.tokenizer.model_max_length
        return DEFAULT_LENGTH if longest >= NO_LIMIT else longest

    @property
    def eot_token_id(self) -> int:
        """Number of the end token."""
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """The token before a continuation without a context: the beginning token, or else the end."""
        first = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else first

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Token numbers of a text, with special tokens unless the text begins with the first one."""
        flags = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        if add_special_tokens is None and self._begins(string):
            flags["add_special_tokens"] = False
        # The tokenizer need not warn about long texts: they are cut, counted and reported.
        return self.tokenizer.encode(string, verbose=False, **flags)

    def _begins(self, string: str) -> bool:
        return has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id))

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        parts = [self._fitting(context, continuation) for _, context, continuation in requests]
        scored = iter(self.engine.loglikelihood([part for each in parts for part in each]))
        return [_together([next(scored) for _ in each]) for each in parts]

    def _fitting(
        self, context: list[int], continuation: list[int]
    ) -> list[tuple[list[int], list[int]]]:
        """A request as (context, continuation) pairs for which the model's context has room.

        The context loses its beginning, as in lm-eval. A continuation that is longer than the model's
        context, for which lm-eval stops, becomes several pairs, each with the tokens before it as its
        context. A pair may exceed the limit by one token, as the last token is never read.
        """
        tokens, start = [*context, *continuation], len(context)
        most = self.max_length
        self.cut += len(tokens) > most + 1
        ends = [*range(start + most, len(tokens), most), len(tokens)]
        starts = [start, *ends[:-1]]
        return [
            (tokens[max(0, end - most - 1) : begin], tokens[begin:end])
            for begin, end in zip(starts, ends, strict=True)
        ]

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        """Raises MeltpointError: perplexity has an evaluation of its own."""
        raise MeltpointError("likelihoods of whole pages are measured by the evaluation perplexity")

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The greedy text after each context, up to the first of its stop strings.

        Raises MeltpointError for a task that asks for sampling, NotApplicable if its new tokens leave
        no room for a prompt.
        """
        texts = [""] * len(requests)
        by_settings: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            by_settings.setdefault(repr(request.args[1]), []).append(index)
        for indices in by_settings.values():
            contexts = [requests[i].args[0] for i in indices]
            written = self._write(contexts, requests[indices[0]].args[1])
            for i, text in zip(indices, written, strict=True):
                texts[i] = text
        return texts

    def _write(self, contexts: Sequence[str], settings: dict) -> list[str]:
        keys = normalize_gen_kwargs(settings)
        if keys["do_sample"] or set(keys) - HARMLESS:
            raise MeltpointError(
                f"the task asks for {settings}: Meltpoint writes greedily, name another task"
            )
        most = keys["max_gen_toks"]
        if most >= self.max_length:
            raise NotApplicable(
                f"{most} new tokens leave no room for a prompt in the model's context of "
                f"{self.max_length}"
            )
        end = self.tokenizer.decode(self.eot_token_id)
        stops = handle_stop_sequences(list(keys["until"]), eos=end)
        prompts = [self._prompt(context, self.max_length - most) for context in contexts]
        stop = StopStrings(self.tokenizer, stops, prompts)
        written = self.engine.generate(prompts, most, (self.eot_token_id,), (stop,))
        decoded = (self.tokenizer.decode(each, skip_special_tokens=True) for each in written)
        return [postprocess_generated_text(text, stops, None) for text in decoded]

    def _prompt(self, context: str, room: int) -> list[int]:
        tokens = self.tok_encode(context)
        self.cut += len(tokens) > room
        return tokens[-room:]


def _together(scores: Sequence[tuple[float, bool]]) -> tuple[float, bool]:
    """Log-likelihood of a continuation in nats, and true if it is the greedy one, from its parts'."""
    return sum(score for score, _ in scores), all(greedy for _, greedy in scores)


class StopStrings:
    """A logits processor that ends a text once it holds a stop string.

    It only saves time: the text is cut at the string afterwards in any case.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        stops: Sequence[str],
        prompts: Sequence[Sequence[int]],
    ) -> None:
        self._tokenizer, self._stops = tokenizer, [stop for stop in stops if stop]
        self._prompts = {tuple(prompt) for prompt in prompts}
        self._lengths = sorted({len(prompt) for prompt in prompts}, reverse=True)

    def __call__(self, tokens: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The logits [1, vocabulary], or logits that allow nothing but the end token."""
        text = tuple(tokens[0].tolist())
        start = next(n for n in self._lengths if text[:n] in self._prompts)
        last = self._tokenizer.decode(text[max(start, len(text) - LAST_TOKENS) :])
        if not any(stop in last for stop in self._stops):
            return logits
        ended = torch.full_like(logits, float("-inf"))
        ended[:, self._tokenizer.eos_token_id] = 0
        return ended
