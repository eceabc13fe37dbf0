"""A GGUF file's model as a base checkpoint: a Hugging Face folder of plain weights."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import gguf
import torch

from meltpoint.checkpoints.base_quantization import BaseGrid, BaseQuantization
from meltpoint.checkpoints.io import Writer
from meltpoint.errors import MeltpointError, NotApplicable, at
from meltpoint.files import whole_folder
from meltpoint.llamacpp.architecture import ROPE_FREQUENCIES, Names, architecture_of
from meltpoint.llamacpp.file import read
from meltpoint.llamacpp.layers import decoded, grid
from meltpoint.llamacpp.stored_config import config_of
from meltpoint.llamacpp.stored_tokenizer import tokenizer_of
from meltpoint.model import empty_model
from meltpoint.model.base_models import verify, write_description

# Number of bytes of a shard after which the next shard begins.
SHARD = 1e9


class Stored:
    """The model in a GGUF file: its config, and the tensor of each parameter."""

    def __init__(self, file: Path, dtype: torch.dtype) -> None:
        self.reader = read(file)
        self.config, self.dtype = config_of(self.reader, dtype), dtype
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.model = empty_model.from_config(self.config, dtype)
        self.parameters = empty_model.parameters_of(self.model, self.model, "")
        names = Names(self.config, architecture_of(self.config))
        self.names = {parameter: names[parameter] for parameter in self.parameters}
        self._check()

    def _check(self) -> None:
        """Raises MeltpointError if the file lacks a parameter of the model, or holds an unknown one."""
        used = set(self.names.values())
        if missing := sorted(used - set(self.tensors)):
            raise MeltpointError(f"it holds no {missing[0]}, which its architecture needs")
        if unknown := sorted(set(self.tensors) - used - {ROPE_FREQUENCIES}):
            name = type(self.model).__name__
            raise MeltpointError(f"it holds {unknown[0]}, which a {name} has no place for")

    def read(self, parameter: str) -> torch.Tensor:
        """A parameter, in the dtype of the checkpoint.

        Raises MeltpointError for a type that cannot be decoded, and for a shape that is not the
        model's.
        """
        tensor = self.tensors[self.names[parameter]]
        try:
            weight = decoded(tensor, parameter, self.config)
        except NotImplementedError:
            kind = gguf.GGMLQuantizationType(tensor.tensor_type).name
            raise MeltpointError(
                f"its {tensor.name} is stored as {kind}, which the gguf package cannot decode"
            ) from None
        expected = self.model.get_parameter(parameter).shape
        if weight.shape != expected:
            raise MeltpointError(
                f"its {tensor.name} has shape {list(weight.shape)}, {list(expected)} by its metadata"
            )
        return weight.to(self.dtype)

    def shards(self) -> Iterator[dict[str, torch.Tensor]]:
        """All parameters by name, in shards of about `SHARD` bytes."""
        held: dict[str, torch.Tensor] = {}
        for parameter in self.parameters:
            held[parameter] = self.read(parameter)
            if sum(tensor.nbytes for tensor in held.values()) > SHARD:
                yield held
                held = {}
        if held:
            yield held

    def base_quantization(self) -> BaseQuantization | None:
        """The quantization grids of the decoder's linears in the file; None if all are plain."""
        prefix, blocks = empty_model.decoder_blocks(self.model)
        linears = {
            self.names[f"{prefix}.{index}.{name}.weight"]
            for index, block in enumerate(blocks)
            for name in empty_model.linears(block)
        }
        types = {name: tensor.tensor_type.name for name, tensor in self.tensors.items()}
        grids = {types[name]: grid(self.tensors[name]) for name in sorted(linears)}
        counts = Counter(types[name] for name in linears)
        rounded = {
            name: BaseGrid(
                linears=counts[name],
                bits=found.bits,
                group_size=found.group_size,
                symmetric=found.symmetric,
            )
            for name, found in grids.items()
            if found is not None
        }
        others = Counter(kind for name, kind in types.items() if name not in linears)
        return (
            BaseQuantization(grids=rounded, others=dict(sorted(others.items())))
            if rounded
            else None
        )


def decode(file: Path, target: Path, dtype: torch.dtype, key: str) -> None:
    """Writes the model of a GGUF file as the base checkpoint `target`; `key` is for messages.

    Weights are decoded one tensor at a time. Raises MeltpointError for a file that is broken or holds
    no tokenizer, and for an architecture, a type or a tokenizer that cannot be decoded.
    """
    at(f"{key}: {file.name}", _decode, file, target, dtype)


def _decode(file: Path, target: Path, dtype: torch.dtype) -> None:
    try:
        stored = Stored(file, dtype)
    except NotApplicable as reason:
        raise MeltpointError(f"it cannot be decoded: {reason}") from None
    tokenizer = tokenizer_of(stored.reader)
    with whole_folder(target) as folder:
        stored.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        writer = Writer(folder)
        for shard in stored.shards():
            writer.write(shard)
        writer.finish()
        write_description(folder, verify(folder), base_quantization=stored.base_quantization())
