"""Chains of the methods that change shapes (`cut_shapes`, `factor_shapes`), and what they compute."""

import contextlib
from collections.abc import Iterator

import pytest
import torch

from meltpoint.model.load import load
from tests.support import cut_shapes, factor_shapes
from tests.support.plugins import register_method
from tests.support.tiny_models import random_tokens

CPU = torch.device("cpu")
FAMILIES = ("llama", "qwen2", "opt")
IDS = random_tokens(2, 20, seed=3)
STEPS = {"cut": "cut_shapes@0.3", "factor": "factor_shapes@0.3"}
# Settings with which nothing is cut: what follows them switches on.
ONLY = "heads=false,neurons=false,depth=false,rotate=false"
CHAINS = [
    chain
    for step in STEPS.values()
    for other in ("wanda@0.5", "sparsegpt@0.5", "rtn@4bit")
    for chain in (f"{step}+{other}", f"{other}+{step}")
]


@contextlib.contextmanager
def registered_shape_methods() -> Iterator[None]:
    """Puts the two methods into the registry for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cut_shapes, factor_shapes):
            register_method(patch, module)
        yield


def logits(folder):
    with torch.no_grad():
        return load(folder, torch.float32, CPU)(IDS).logits


def unique(step):
    """A step's settings, the last of each name."""
    return ",".join(f"{k}={v}" for k, v in dict(p.split("=") for p in step.split(",")).items())
