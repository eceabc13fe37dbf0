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

# Number of texts that a trial of a tokenizer needs to be conclusive.
FEWEST_PROBES = 3


class Source:
    """A checkpoint on its way into a GGUF file: config, names, and tensors as llama.cpp has them."""

    def __init__(self, folder: Path) -> None:
        model = empty_model.build(folder, torch.float32)
        self.config = model.config
        self.architecture = architecture_of(model.config)
        self.names = Names(model.config, self.architecture)
        # float32 whatever the study's dtype, so that stored numbers are rounded once, in the file.
        self.reader = Reader(folder, torch.float32, torch.device("cpu"))
        follow(self.reader, model)
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self.shapes = {n: shapes[n] for n in empty_model.parameters_of(model, model, "")}

    def read(self, name: str) -> np.ndarray:
        """A parameter in its form in the file: matrices in float16, norms and biases in float32.

        Raises NotApplicable for a shape that differs from the config's, and for weights beyond the
        range of float16.
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
        """All tensors of the file with their names there, in the file's order."""
        factors = rope_factors(self.config)
        if factors is not None:
            yield ROPE_FREQUENCIES, factors.numpy()
        for name in self.shapes:
            yield self.names[name], self.read(name)

    def layout(self) -> Iterator[tuple[str, tuple[int, ...], np.dtype]]:
        """Name, shape and dtype of each tensor, in the order of `tensors`, without reading weights."""
        factors = rope_factors(self.config)
        if factors is not None:
            yield ROPE_FREQUENCIES, tuple(factors.shape), np.dtype(np.float32)
        for name, shape in self.shapes.items():
            yield self.names[name], shape, np.dtype(np.float16 if len(shape) > 1 else np.float32)


@timed("save")
def write_gguf(source: Path, file: Path) -> None:
    """Writes a checkpoint as a GGUF file, with one tensor in memory at a time.

    The file gets the tokenizer if llama.cpp splits text in the same way. Otherwise it has no
    vocabulary, and runs on token numbers, not on text. Raises NotApplicable for a model that llama.cpp
    would not run faithfully.
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
    """True if llama.cpp, given this vocabulary, splits the probes as the model's own tokenizer does."""
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
