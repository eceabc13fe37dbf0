"""A Hugging Face folder as a GGUF file of 16-bit floats."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import all_finite
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.llamacpp.architecture import (
    ROPE_FREQUENCIES,
    Architecture,
    Names,
    architecture_of,
    heads_to_permute,
    permute,
    rope_factors,
    write_parameters,
)
from meltpoint.llamacpp.session import tokenize
from meltpoint.llamacpp.tokenizer import Vocabulary, vocabulary_of
from meltpoint.model import empty_model
from meltpoint.model.stored_layout import follow
from meltpoint.timing import timed

# With fewer texts that the tokenizer itself reads back, a trial says nothing.
FEWEST_PROBES = 3


class Source:
    """A checkpoint on its way into a GGUF file: config, names, and tensors as llama.cpp has them."""

    def __init__(self, folder: Path) -> None:
        model = empty_model.build(folder, torch.float32)
        self.config = model.config
        self.architecture = architecture_of(model.config)
        self.names = Names(model.config, self.architecture)
        # The study's dtype is no matter: what is written is rounded once, from the numbers stored.
        self.reader = Reader(folder, torch.float32, torch.device("cpu"))
        follow(self.reader, model)
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self.shapes = {n: shapes[n] for n in empty_model.parameters_of(model, model, "")}

    def read(self, name: str) -> np.ndarray:
        """A parameter as it stands in the file: matrices float16, norms and biases float32.

        Raises NotApplicable for one of another shape than its config's, or out of float16's range.
        """
        tensor = self.reader.read([name])[name]
        if tuple(tensor.shape) != self.shapes[name]:
            raise NotApplicable(f"llama.cpp wants layers of one shape; {name} has its own")
        if name.endswith("norm.weight"):
            tensor = tensor + self.architecture.norm_shift
        if heads := heads_to_permute(name, self.config, self.architecture):
            tensor = permute(tensor, heads)
        if tensor.dim() == 1:
            return tensor.numpy()
        half = tensor.half()
        if not all_finite(half):
            raise NotApplicable(f"{name} has weights beyond the range of float16")
        return half.numpy()

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """All of the file's tensors by their names there, in its order."""
        factors = rope_factors(self.config)
        if factors is not None:
            yield ROPE_FREQUENCIES, factors.numpy()
        for name in self.shapes:
            yield self.names[name], self.read(name)

    def layout(self) -> Iterator[tuple[str, tuple[int, ...], np.dtype]]:
        """Name, shape and dtype of what `tensors` will give, without reading any."""
        factors = rope_factors(self.config)
        if factors is not None:
            yield ROPE_FREQUENCIES, tuple(factors.shape), np.dtype(np.float32)
        for name, shape in self.shapes.items():
            yield self.names[name], shape, np.dtype(np.float16 if len(shape) > 1 else np.float32)


@timed("save")
def write_gguf(source: Path, file: Path) -> None:
    """Writes a checkpoint as a GGUF file, tensor by tensor: one is held at a time.

    Its tokenizer comes with it where llama.cpp splits text as it does; else the file has no vocabulary:
    it runs on token numbers, not on text. Raises NotApplicable for a model that llama.cpp would not
    run as it is.
    """
    model = Source(source)
    vocabulary = vocabulary_of(source, model.config.vocab_size)
    if vocabulary is not None and not _agrees(vocabulary, model, file):
        vocabulary = None
    writer = _writer(file, model.config, model.architecture, vocabulary)
    for name, shape, dtype in model.layout():
        writer.add_tensor_info(name, shape, dtype, int(np.prod(shape)) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, tensor in model.tensors():
        writer.write_tensor_data(tensor)
    writer.close()


def _writer(
    file: Path, config, architecture: Architecture, vocabulary: Vocabulary | None
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(file, architecture.name)
    write_parameters(writer, config, architecture)
    if vocabulary is None:
        writer.add_tokenizer_model("no_vocab")
    else:
        vocabulary.write(writer)
    return writer


def _agrees(vocabulary: Vocabulary, model: Source, file: Path) -> bool:
    """Whether llama.cpp, given this vocabulary, splits text as the model's own tokenizer does."""
    if len(vocabulary.probes) < FEWEST_PROBES:
        return False
    trial = file.with_suffix(".vocabulary.gguf")
    try:
        writer = _writer(trial, model.config, model.architecture, vocabulary)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        return tokenize(trial, vocabulary.probes) == list(vocabulary.probes.values())
    except MeltpointError:
        return False
    finally:
        trial.unlink(missing_ok=True)
