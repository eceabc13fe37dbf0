"""What every engine offers."""

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

# Tokens of the texts that are written together, by the device: their keys and values are held.
AUTO_TOKENS = {"cpu": 2048, "cuda": 16384}
# Takes a slice of the predicted tokens, in the order of `nll`, and the log probabilities of all tokens
# at their places, float32 [places, vocabulary].
Observer = Callable[[slice, torch.Tensor], None]
Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Engine(ABC):
    """A checkpoint that is ready to run.

    Attributes: `name`, the program or library that runs it; `provenance`, what a cell says of that;
    `vocabulary`, the number of its tokens; `context_length`, the most tokens that it can read, None
    where there is no limit; `load_seconds`, what it took to read the weights; `runs_transformers`,
    whether transformers' own `generate` can write with it.
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

        `windows` are token numbers [windows, length], used as they are; each is a text of its own.
        `observe` sees the log probabilities that they are taken from, part by part.
        """

    def head_inputs(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """Hidden states that the head predicts tokens from, [places, width] in the model's dtype.

        The places of all parts together are those of `nll`, in its order. Raises MeltpointError for an
        engine that has none to give.
        """
        raise MeltpointError(f"{self.name} gives no hidden states")

    @abstractmethod
    def logits(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """The logits of all windows in their order, batch by batch: float32 [batch, length, tokens].

        Those at a position are of the token after it. No batch is held when the next is made.
        """

    @abstractmethod
    def decoding(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        rows: int | None = None,
        hidden_states: bool = False,
    ) -> AbstractContextManager[Decoding]:
        """Begins to write after some prompts, which have been read then.

        Room is made for `max_new_tokens` more in each of `rows` texts (as many as there are prompts,
        if it is not said). Raises MeltpointError for an empty prompt, for what does not fit the model's
        context, and NotApplicable for hidden states from an engine that has none to give.
        """

    @abstractmethod
    def _rows(self, passes: list[Pass]) -> Iterator[tuple[Pass, torch.Tensor]]:
        """The logits at each pass's positions, float32 [positions, vocabulary], in any order."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the model."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.no_grad()
    def loglikelihood(self, requests: Sequence[Request]) -> list[tuple[float, bool]]:
        """Of each (context, continuation) in token numbers: the log probability of the continuation
        after the context in nats, and whether greedy decoding would write it.

        What several requests have in common from their first token on up to the last but one of the
        shorter is read once. Raises MeltpointError for a request without a context or a continuation,
        or one longer than the model's context.
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
        """The most probable token after each prompt, and so on: the new tokens of each text.

        A text ends at the first token of `eos`, which is kept, or after `max_new_tokens`. A processor
        takes the tokens of one text so far, int64 [1, tokens], without any padding, and its next
        token's logits, float32 [1, vocabulary], and returns other logits, as those of transformers do.
        Texts are batched by length; neither batch nor padding changes what a text is given to see.
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
        """The texts, by their numbers, that are written together.

        lengths: the most tokens of each text. width: the rows that a text takes while it is written.
        """
        lengths = [length * width for length in lengths]
        if self.compute.batch != "auto":
            return _requests.batches(lengths, most=self.compute.batch)
        device = self.compute.torch_device.type
        return _requests.batches(lengths, tokens=AUTO_TOKENS.get(device, AUTO_TOKENS["cpu"]))
