"""Gradients reach `compress_block`, as those of the model before the step, and leave no file behind."""

import numpy as np
import pytest
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.model.backward_walk import walk_backwards
from meltpoint.model.gradient_statistics import GRADIENT_ACCUMULATORS
from tests.support.plugins import method_module, register_method
from tests.support.specs import compress_spec
from tests.support.tiny_models import random_tokens, save_model

TAYLOR = '''
"""Taylor: weights are removed by their first-order effect on the loss."""

from meltpoint.chain import Sparsity
from meltpoint.methods._masks import smallest_of_rows
from meltpoint.methods.settings import CalibratedSettings

kind = "unstructured"
levels = (Sparsity,)
env = "torch"
SEEN = {}


class Settings(CalibratedSettings):
    """None of its own."""


def gradients(settings):
    """Of the loss."""
    return ("gradient", "gradient_square")


def compress_block(block, statistics, level, settings):
    """Removes the weights of smallest |w g| in place."""
    for name, linear in block.linears.items():
        SEEN[block.index, name] = block.gradients[name]
        metric = (linear.weight * block.gradients[name].gradient).abs()
        removed = smallest_of_rows(metric, int(metric.shape[1] * level.fraction))
        linear.weight.masked_fill_(removed, 0)
'''


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_gradients_of_the_dense_model_reach_every_block(family, monkeypatch, tmp_path):
    method = register_method(monkeypatch, method_module("taylor", TAYLOR))
    assert method.needs_gradients
    base, windows = save_model(tmp_path / "base", family), random_tokens(4, 16)
    np.save(tmp_path / "windows.npy", windows.numpy())
    compute = Compute(device="cpu")
    settings = {"calibration": "default", "windows": {"file": "windows.npy"}}
    spec = compress_spec("taylor@0.5", settings)
    (tmp_path / "cells").mkdir()
    target = tmp_path / "cells/checkpoint"
    compress(base, target, spec, [tmp_path / "windows.npy"], compute)
    assert Description.read(target).achieved.zeros == pytest.approx(0.5)
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["checkpoint"]
    reader = Reader(base, torch.float32, torch.device("cpu"))
    for block in walk_backwards(reader, windows, compute, GRADIENT_ACCUMULATORS):
        for name, expected in block.gradients.items():
            seen = method.module.SEEN[block.index, name]
            assert torch.equal(seen.gradient, expected.gradient)
            assert torch.equal(seen.gradient_square, expected.gradient_square)
