"""A GGUF file that llama.cpp has loaded."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations.engines import _requests
from meltpoint.evaluations.engines._decoding import Decoding
from meltpoint.evaluations.engines._engine import Engine, Observer
from meltpoint.evaluations.engines._requests import Pass
from meltpoint.llamacpp import runtime
from meltpoint.llamacpp.file import value
from meltpoint.llamacpp.library import llama_cpp
from meltpoint.llamacpp.session import Context, loaded


class LlamaEngine(Engine):
    """Runs a GGUF file. Given texts are read one by one; new texts are written in one batch."""

    name = "llama.cpp"

    def __init__(self, file: Path, compute: Compute) -> None:
        super().__init__(compute)
        self.file = file
        self._opened = contextlib.ExitStack()
        self.model = self._opened.enter_context(loaded(file, compute))
        self.vocabulary, self.load_seconds = self.model.vocabulary, self.model.seconds
        self.context_length = value(self.model.metadata, "{arch}.context_length")

    def nll(self, windows: np.ndarray, observe: Observer | None = None) -> np.ndarray:
        """Negative log likelihood of each predicted token in nats: float32 [windows, length - 1]."""
        if observe is None:
            return runtime.windows_nll(self.model, self.file, windows)
        return runtime.windows_nll(self.model, self.file, windows, _observing(observe))

    def logits(self, windows: np.ndarray) -> Iterator[torch.Tensor]:
        """The logits of all windows, window by window: float32 [1, length, vocabulary]."""
        length = windows.shape[1]
        runtime.check_tokens(self.model, self.file, windows, length)
        size = runtime.batch_size(self.model, length)
        with self.model.context(length, size) as context:
            for window in windows:
                context.clear()
                yield _tensor(context.read(part) for part in runtime.parts(window, size))[None]

    @contextlib.contextmanager
    def decoding(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        rows: int | None = None,
        hidden_states: bool = False,
    ) -> Iterator["LlamaDecoding"]:
        """Context of a decoding after some prompts, in a cache for `rows` texts.

        Raises NotApplicable if hidden states are asked for, MeltpointError for a prompt that does not
        fit the context, and for more rows than llama.cpp has sequences.
        """
        if hidden_states:
            raise NotApplicable(
                "llama.cpp gives no hidden states, which this strategy of decoding needs"
            )
        rows = max(rows or 0, len(prompts))
        if (most := llama_cpp().llama_max_parallel_sequences() // 2) < rows:
            raise MeltpointError(f"llama.cpp writes {most} texts at a time, not {rows}: use fewer")
        _requests.check_prompts(prompts, max_new_tokens, self.context_length)
        longest = max(map(len, prompts)) + max_new_tokens
        for prompt in prompts:
            runtime.check_tokens(self.model, self.file, np.array(prompt), longest)
        size = max(rows, min(longest, runtime.LARGEST_BATCH))
        with self.model.context(rows * longest, size, rows) as context:
            yield LlamaDecoding(context, prompts)

    def _rows(self, passes: list[Pass]) -> Iterator[tuple[Pass, torch.Tensor]]:
        longest = max(map(len, passes))
        size = runtime.batch_size(self.model, longest)
        with self.model.context(longest, size) as context:
            for each in passes:
                tokens, wanted = np.array(each.tokens), np.zeros(len(each), dtype=bool)
                runtime.check_tokens(self.model, self.file, tokens, len(tokens))
                wanted[each.positions] = True
                context.clear()
                parts = zip(runtime.parts(tokens, size), runtime.parts(wanted, size), strict=True)
                yield each, _tensor(context.read(x, wanted=y) for x, y in parts)

    def text_batches(self, lengths: Sequence[int], width: int = 1) -> list[list[int]]:
        """Batches of texts that are written together, as lists of the texts' numbers.

        Their rows use at most half of llama.cpp's sequences, as `select` needs the other half.
        """
        most = max(1, llama_cpp().llama_max_parallel_sequences() // 2 // width)
        batches = super().text_batches(lengths, width)
        return [batch[i : i + most] for batch in batches for i in range(0, len(batch), most)]

    def close(self) -> None:
        """Frees the model."""
        self._opened.close()


class LlamaDecoding(Decoding):
    """A decoding in which each row is a sequence of llama.cpp's cache.

    Sequences have positions of their own, so that there is no padding.
    """

    def __init__(self, context: Context, prompts: Sequence[Sequence[int]]) -> None:
        self._context = context
        context.clear(len(prompts))
        self.logits = torch.cat([self._read(row, prompt) for row, prompt in enumerate(prompts)])

    def append(self, tokens: Sequence[int]) -> None:
        """Lets the model read one more token in each row."""
        self.logits = _tensor([self._context.read_each(tokens)])

    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows, in this order; a row may be left out or repeated."""
        self._context.select(rows)
        self.logits = self.logits[list(rows)]

    def _read(self, row: int, prompt: Sequence[int]) -> torch.Tensor:
        parts = runtime.parts(np.array(prompt), self._context.size)
        return _tensor([self._context.read(part, last_only=True, row=row) for part in parts][-1:])


def _observing(observe: Observer) -> Callable[[slice, np.ndarray], None]:
    """A function that passes logits of llama.cpp, float32 [places, vocabulary], to an observer."""
    return lambda places, logits: observe(places, torch.from_numpy(logits).log_softmax(-1))


def _tensor(parts) -> torch.Tensor:
    """Logits, float32 [tokens, vocabulary], copied from llama.cpp, which overwrites its own."""
    return torch.from_numpy(np.concatenate([part.copy() for part in parts]))
