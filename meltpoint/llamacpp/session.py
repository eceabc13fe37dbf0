"""A model that llama.cpp has loaded, and a sequence of tokens that it reads.

Results must not depend on the processor. Weights therefore keep their layout in the file: llama.cpp
would repack some of them, and then add in an order that depends on the kind of processor. The number of
threads is the study's. The cache's keys and values are float16, as in llama.cpp's own tools.
"""

import ctypes
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.llamacpp.file import read
from meltpoint.llamacpp.library import complaint, llama_cpp, offloaded

# An empty list of accelerators.
NO_DEVICES = (ctypes.c_void_p * 1)(None)


class Context:
    """Sequences of tokens that llama.cpp has read so far, and the logits of the last batch.

    There is one sequence, or a row of several that are read side by side.
    """

    def __init__(self, handle, batch, size: int, vocabulary: int, rows: int = 1) -> None:
        self.handle, self.size, self._rows = handle, size, rows
        self._batch, self._vocabulary = batch, vocabulary
        self._tokens, self._positions, self._wanted = (
            np.ctypeslib.as_array(field, (size,))
            for field in (batch.token, batch.pos, batch.logits)
        )
        for i in range(size):
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        self._sequences, self._lengths = [0], [0]

    def clear(self, rows: int = 1) -> None:
        """Empties the cache and begins `rows` sequences."""
        library = llama_cpp()
        library.llama_memory_clear(library.llama_get_memory(self.handle), True)
        self._sequences, self._lengths = list(range(rows)), [0] * rows

    def read(
        self,
        tokens: np.ndarray,
        last_only: bool = False,
        row: int = 0,
        wanted: np.ndarray | None = None,
    ) -> np.ndarray:
        """Reads more tokens, at most `size`, in sequence number `row`; returns logits.

        These are float32 [places, vocabulary], valid until the next batch is read. Their places are all
        tokens, or the last one, or those at which `wanted`, bool [tokens], is true.
        """
        count, start = len(tokens), self._lengths[row]
        self._tokens[:count] = tokens
        self._positions[:count] = range(start, start + count)
        if wanted is None:
            wanted = np.full(count, not last_only)
            wanted[-1] = True
        self._wanted[:count] = wanted
        self._lengths[row] += count
        return self._decode([self._sequences[row]] * count, int(wanted.sum()))

    def read_each(self, tokens: Sequence[int]) -> np.ndarray:
        """Reads one more token in each sequence; returns logits, float32 [sequences, vocabulary]."""
        count = len(tokens)
        self._tokens[:count], self._positions[:count] = tokens, self._lengths
        self._wanted[:count] = True
        self._lengths = [length + 1 for length in self._lengths]
        return self._decode(self._sequences, count)

    def select(self, rows: Sequence[int]) -> None:
        """Keeps these sequences, in this order; a sequence may be left out or repeated.

        They get the free half of the sequence numbers, from 0 or from `_rows` on. The cache is shared,
        not copied.
        """
        library = llama_cpp()
        memory = library.llama_get_memory(self.handle)
        first = self._rows if self._sequences[0] == 0 else 0
        copies = list(range(first, first + len(rows)))
        for row, copy in zip(rows, copies, strict=True):
            library.llama_memory_seq_cp(memory, self._sequences[row], copy, -1, -1)
        for sequence in self._sequences:
            library.llama_memory_seq_rm(memory, sequence, -1, -1)
        self._sequences, self._lengths = copies, [self._lengths[row] for row in rows]

    def _decode(self, sequences: Sequence[int], outputs: int) -> np.ndarray:
        library = llama_cpp()
        self._batch.n_tokens = len(sequences)
        for i, sequence in enumerate(sequences):
            self._batch.seq_id[i][0] = sequence
        if code := library.llama_decode(self.handle, self._batch):
            raise MeltpointError(f"llama.cpp cannot go on (code {code}): {complaint()}")
        if not outputs:
            return np.empty((0, self._vocabulary), dtype=np.float32)
        shape = (outputs, self._vocabulary)
        return np.ctypeslib.as_array(library.llama_get_logits(self.handle), shape)


class Model:
    """A loaded model; `metadata` is that of its file, `seconds` the time that loading took.

    `device` is "cuda" if some of its layers are on an accelerator, else "cpu".
    """

    def __init__(
        self, handle, metadata: gguf.GGUFReader | None, compute: Compute, seconds: float
    ) -> None:
        library = llama_cpp()
        self.metadata, self._handle, self._compute = metadata, handle, compute
        self.seconds, self.device = seconds, "cuda" if offloaded() else "cpu"
        self.tokenizer = library.llama_model_get_vocab(handle)
        self.vocabulary = library.llama_vocab_n_tokens(self.tokenizer)

    @contextmanager
    def context(self, length: int, size: int, rows: int | None = None) -> Iterator[Context]:
        """Context with a cache of `length` tokens in all, which are read in batches of at most `size`.

        It holds one sequence, or up to `rows` sequences that are read together and can be selected.
        """
        library = llama_cpp()
        parameters = library.llama_context_default_params()
        if rows is not None:
            # `select` copies them to as many others of the same cache.
            parameters.n_seq_max, parameters.kv_unified = 2 * rows, True
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = length, size, size
        parameters.n_threads = parameters.n_threads_batch = self._compute.threads
        handle = library.llama_init_from_model(self._handle, parameters)
        if not handle:
            raise MeltpointError(f"llama.cpp has no room for {length} tokens: {complaint()}")
        batch = library.llama_batch_init(size, 0, 1)
        try:
            yield Context(handle, batch, size, self.vocabulary, rows or 1)
        finally:
            library.llama_batch_free(batch)
            library.llama_free(handle)


@contextmanager
def loaded(file: Path, compute: Compute, vocabulary_only: bool = False) -> Iterator[Model]:
    """Context with a file's model in memory; raises MeltpointError for a broken file."""
    metadata = None if vocabulary_only else read(file)
    library = llama_cpp()
    parameters = _parameters(library, compute, vocabulary_only)
    start = time.perf_counter()
    handle = library.llama_model_load_from_file(str(file).encode(), parameters)
    seconds = time.perf_counter() - start
    if not handle:
        raise MeltpointError(f"{file} cannot be loaded by llama.cpp: {complaint()}")
    try:
        yield Model(handle, metadata, compute, seconds)
    finally:
        library.llama_model_free(handle)


def _parameters(library, compute: Compute, vocabulary_only: bool):
    """llama.cpp's parameters for loading a model."""
    parameters = library.llama_model_default_params()
    if not vocabulary_only and compute.torch_device.type == "cuda":
        parameters.n_gpu_layers = -1
    else:
        parameters.n_gpu_layers = 0
        # Without this, an available accelerator would still multiply large batches.
        parameters.devices = ctypes.addressof(NO_DEVICES)
    parameters.vocab_only = vocabulary_only
    # llama.cpp's AMX kernels, which need repacked weights, can end the process.
    parameters.use_extra_bufts = False
    return parameters


def tokenize(file: Path, texts: Iterable[str]) -> list[list[int]]:
    """llama.cpp's tokens of each text, by a file's vocabulary, without special tokens."""
    with loaded(file, Compute(device="cpu"), vocabulary_only=True) as model:
        return [_tokenize(model, text.encode()) for text in texts]


def _tokenize(model: Model, text: bytes) -> list[int]:
    # A text has at most a token for each byte, and one for a space before it.
    tokens = (ctypes.c_int32 * (len(text) + 8))()
    count = llama_cpp().llama_tokenize(
        model.tokenizer, text, len(text), tokens, len(tokens), False, False
    )
    return list(tokens[:count])
