"""The interface of all engines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines import _requests
from meltpoint.evaluations.engines._decoding import Decoding
from meltpoint.evaluations.engines._greedy import write
from meltpoint.evaluations.engines._requests import Pass, Request
from meltpoint.progress import track

# Number of tokens, by device, of the texts that are written together: the cache holds all their keys
# and values.
AUTO_TOKENS = {"cpu": 2048, "cuda": 16384}
# An observer is called with a slice of the predicted tokens, in the order of `nll`, and with the log
# probabilities at their places, float32 [places, vocabulary].
Observer = Callable[[slice, torch.Tensor], None]
Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Engine(ABC):
    """A checkpoint that is ready to run.

    Attributes: `name`, the program or library that runs it; `vocabulary`, the number of its tokens;
    `context_length`, the largest number of tokens that it can read, None without a limit;
    `load_seconds`, the time that reading the weights took; `runs_transformers`, true if `generate` of
    transformers can run the model.
    """

    name: str
    vocabulary: int
    context_length: int | None
    load_seconds: float
    runs_transformers = False

    def __init__(self, compute: Compute) -> None:
        self.compute = compute

    @property
    def provenance(self) -> dict[str, str]:
        """Entries of a cell's provenance that name the program that ran its checkpoint."""
        return {"engine": self.name}

    @abstractmethod
    def nll(self, windows: np.ndarray, observe: Observer | None = None) -> np.ndarray:
        """Negative log likelihood of each predicted token in nats: float32 [windows, length - 1].

        windows: token numbers [windows, length]; no token is added, and each window is a text of its
        own. observe: called with the log probabilities, part by part.
        """

    def head_inputs(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """Inputs of the head, part by part, [places, width] in the model's dtype.

        The places of all parts together are those of `nll`, in its order. Raises MeltpointError for an
        engine without access to hidden states.
        """
        raise MeltpointError(f"{self.name} gives no hidden states")

    @abstractmethod
    def logits(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """The logits of all windows in order, batch by batch: float32 [batch, length, vocabulary].

        The logits at a position are those of the token after it. A batch is freed before the next one.
        """

    @abstractmethod
    def decoding(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        rows: int | None = None,
        hidden_states: bool = False,
    ) -> AbstractContextManager[Decoding]:
        """Context of a decoding after some prompts, which it has read.

        rows: the largest number of rows; default: that of the prompts. The cache has room for
        `max_new_tokens` after each prompt. Raises MeltpointError for an empty prompt, and for a prompt
        that is too long for the model's context. Raises NotApplicable if hidden states are asked for
        and the engine has no access to them.
        """

    @abstractmethod
    def _rows(self, passes: list[Pass]) -> Iterator[tuple[Pass, torch.Tensor]]:
        """The logits at each pass's positions, float32 [positions, vocabulary], in any order."""

    @abstractmethod
    def close(self) -> None:
        """Frees the model."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.no_grad()
    def loglikelihood(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """Log probability in nats of each request's continuation, and whether it is the greedy one.

        A request is (context, continuation) in token numbers. A request whose tokens, but for the last,
        begin another request is read together with that one. Raises MeltpointError for a request
        without context or continuation, and for one that is longer than the model's context.
        """
        results: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        passes = _requests.passes(requests, self.context_length)
        for each, logits in track(self._rows(passes), "log likelihoods", len(passes)):
            for index in each.requests:
                context, continuation = requests[index]
                start = each.positions.index(len(context) - 1)
                rows = logits[start : start + len(continuation)]
                results[index] = _requests.score(rows, continuation)
        return results

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        eos: Sequence[int] = (),
        processors: Sequence[Processor] = (),
    ) -> list[list[int]]:
        """The new tokens that greedy decoding writes after each prompt, in the prompts' order.

        A text ends at the first token of `eos`, which is kept, or after `max_new_tokens`. Processors
        are those of transformers: each takes the tokens of one text so far without padding, int64
        [1, tokens], and the next token's logits, float32 [1, vocabulary], and returns new logits. Texts
        are batched by length. A text sees neither the other texts of its batch nor the padding.
        """
        results: list[list[int]] = [[] for _ in prompts]
        lengths = [len(prompt) + max_new_tokens for prompt in prompts]
        for batch in track(self.text_batches(lengths), "generation"):
            chosen = [prompts[i] for i in batch]
            with self.decoding(chosen, max_new_tokens) as decoding:
                texts = write(decoding, chosen, max_new_tokens, frozenset(eos), processors)
            for i, text in zip(batch, texts, strict=True):
                results[i] = text
        return results

    def text_batches(self, lengths: Sequence[int], width: int = 1) -> list[list[int]]:
        """Batches of texts that are written together, as lists of the texts' numbers.

        lengths: largest number of tokens of each text. width: rows that a text takes in the cache.
        """
        lengths = [length * width for length in lengths]
        if self.compute.batch != "auto":
            return _requests.batches(lengths, most=self.compute.batch)
        device = self.compute.torch_device.type
        return _requests.batches(lengths, tokens=AUTO_TOKENS.get(device, AUTO_TOKENS["cpu"]))
