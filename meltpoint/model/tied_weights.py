"""Finds weights that a config ties although a checkpoint stores two different ones."""

from pathlib import Path

import torch

from meltpoint.checkpoints.io import Reader
from meltpoint.errors import MeltpointError
from meltpoint.model import empty_model
from meltpoint.model.configs import read_json
from meltpoint.model.stored_layout import follow


def untied_config(folder: Path) -> dict | None:
    """The config with `tie_word_embeddings: false`, if both tied weights are stored and differ.

    transformers then reads both and does not tie them. None if no tied weight is stored twice, or if
    both copies are equal. Raises MeltpointError if no config can say which weights are tied.
    """
    model = empty_model.build(folder, torch.float32)
    reader = Reader(folder, torch.float32, torch.device("cpu"))
    tied = [(first, other) for first, names in follow(reader, model).items() for other in names]
    different = [pair for pair in tied if _differ(reader, *pair)]
    if not different:
        return None
    lacking = [name for pair in tied for name in pair if not reader.stored_keys(name)]
    if lacking:
        first, other = different[0]
        raise MeltpointError(
            f"{folder}: {first} and {other} are tied by its config and stored with other values, but "
            f"{lacking[0]}, which is tied too, is not stored: store all tied weights, or each once"
        )
    return {**read_json(folder), "tie_word_embeddings": False}


def _differ(reader: Reader, first: str, other: str) -> bool:
    """True if a checkpoint stores both parameters of a tied pair and their values differ."""
    keys = reader.stored_keys(first), reader.stored_keys(other)
    if [] in keys or keys[0] == keys[1]:
        return False
    stored = [reader.stored({"": key})[""] for key, *_ in keys]
    return not torch.equal(*stored)
