"""One linear layer: pruned by a step, and what the official codes made of theirs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.model.activation_statistics import Statistics
from meltpoint.model.block_walk import Block

GOLDEN = Path(__file__).parents[3] / "shared/golden/unstructured"
official_numbers = pytest.mark.skipif(
    not GOLDEN.exists(), reason="the official codes' numbers (shared/golden) are not here"
)


def prune(spelling, weight, inputs):
    """The weight [rows, C] after a step, on inputs [windows, tokens, C]."""
    step = parse_step(spelling)
    method = methods.find(step.method)
    settings = method.settings(step)
    linear = torch.nn.Linear(*weight.T.shape, bias=False, dtype=weight.dtype).requires_grad_(False)
    linear.weight.copy_(weight)
    names = method.statistics(settings)
    statistics = Statistics(names, inputs.shape[-1], len(inputs), inputs.device)
    statistics.update(inputs)
    block = Block(0, 1, linear, {"linear": linear})
    method.module.compress_block(block, {"linear": statistics}, step.level, settings)
    return linear.weight


def official_layer(fixture, key):
    """The official result of a key, the weight and the inputs."""
    layer = np.load(GOLDEN / "layer_golden.npz")
    return tuple(torch.from_numpy(layer[f"{fixture}|{name}"]).float() for name in (key, "W", "X"))


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def is_pattern(weight, pattern):
    return bool(((weight.unflatten(1, (-1, pattern.group)) != 0).sum(-1) == pattern.kept).all())
