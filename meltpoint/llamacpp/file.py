"""Reads GGUF files without llama.cpp, in which a broken file could end the process."""

from pathlib import Path
from typing import Any

import gguf

from meltpoint.errors import MeltpointError


def read(file: Path) -> gguf.GGUFReader:
    """A reader of the file's metadata and tensors, which reads no tensor yet.

    Raises MeltpointError for a file that is missing, truncated or not a GGUF file.
    """
    try:
        reader = gguf.GGUFReader(file)
        if not reader.tensors:
            raise ValueError("it holds no tensors")
        return reader
    except Exception as error:  # whatever a reader meets in bytes of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MeltpointError(
            f"{file} is missing, truncated or no GGUF file ({reason}): fetch or make it again"
        ) from None


def tensor_names(architecture: str, blocks: int) -> gguf.TensorNameMap:
    """Map from names of parameters in transformers to names in files of a llama.cpp architecture."""
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(kinds[architecture], blocks)


def value(reader: gguf.GGUFReader, key: str) -> Any:
    """Value of a key of the metadata, or None; `{arch}` stands for the architecture's name."""
    architecture = reader.fields["general.architecture"].contents()
    field = reader.fields.get(key.format(arch=architecture))
    return None if field is None else field.contents()
