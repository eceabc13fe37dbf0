"""Helpers for the tests of low-rank methods."""

from pathlib import Path

import torch

from meltpoint.checkpoints.description import Description
from meltpoint.model.load import load
from tests.support.tiny_models import random_tokens, save_model

# The methods that give all linears the same share of their numbers.
FACTORED = ("svd", "svd_llm")


def tiny(factory, family: str, depth: int = 2, **changes: object) -> Path:
    """A tiny model of a family in a folder of its own."""
    kinds = {"layer_types": None} if family == "qwen2" else {}
    folder = factory.mktemp("base") / family
    return save_model(folder, family, num_hidden_layers=depth, **kinds, **changes)


def product(found: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Weight [rows, columns] that two stored factors stand for."""
    return found[f"{name}.1.weight"] @ found[f"{name}.0.weight"]


def logits(folder: Path) -> torch.Tensor:
    """Logits of a checkpoint on some tokens."""
    with torch.no_grad():
        return load(folder, torch.float32, torch.device("cpu"))(random_tokens(2, 20, seed=3)).logits


def reason_of(folder: Path) -> str | None:
    """Reason why a checkpoint's step does not apply."""
    return Description.read(folder).reason
