"""A model that overflows: which block, and whether another dtype helps."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from meltpoint.checkpoints.io import Reader, Writer
from meltpoint.compute import Compute, all_finite
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.contract import Inputs
from meltpoint.evaluations.windows import overflow_warnings
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from meltpoint.model.overflow import first_overflow
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")
COMPUTE = Compute(device="cpu")
DOWN, NORM = (
    "model.layers.{}.mlp.down_proj.weight",
    "model.layers.{}.post_attention_layernorm.weight",
)


def overflowing(folder, factors: dict[str, float]):
    """A tiny Llama some of whose weights are scaled so far that float32 ends."""
    base = save_model(folder, "llama", num_hidden_layers=3)
    tensors = load_file(base / "model.safetensors")
    for name, factor in factors.items():
        tensors[name] = tensors[name] * factor
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    return base


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_value_that_is_not_finite_is_seen(dtype):
    values = torch.full((30, 40), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite(values)
    assert all_finite(values[:0])
    for bad in (torch.nan, torch.inf, -torch.inf):
        changed = values.clone()
        changed[17, 23] = bad
        assert not all_finite(changed)
        assert not all_finite(changed[:, 20:30].T)


def collect_all(base) -> None:
    walk = Walk(Reader(base, torch.float32, CPU), random_tokens(2, 8), COMPUTE)
    with torch.no_grad():
        walk.embed()
        for index in range(3):
            empty_model.fill(walk.model, walk.reader.read(walk.names(index)))
            walk.collect(index, ("norm",))
            walk.advance(index)


def test_the_block_that_overflows_in_float32_is_named(tmp_path):
    base = overflowing(tmp_path / "m", {NORM.format(1): 1e3, DOWN.format(1): 1e38})
    with pytest.raises(MeltpointError) as caught:
        collect_all(base)
    assert str(caught.value) == (
        "the inputs of block 2 are not finite: the model itself overflows in float32, in block 1, and "
        "no other compute.dtype helps"
    )
    assert first_overflow(base, random_tokens(1, 8), COMPUTE) == "block 1"


def test_inputs_within_a_block_overflow_too(tmp_path):
    base = overflowing(tmp_path / "m", {NORM.format(1): 1e30})
    with pytest.raises(
        MeltpointError, match=r"the inputs of block 1 .* in float32, in block 1, and no"
    ):
        collect_all(base)


def test_a_cell_says_which_block_makes_its_losses_infinite(tmp_path):
    base = overflowing(tmp_path / "m", {NORM.format(0): 1e3, DOWN.format(0): 1e38})
    windows = random_tokens(3, 8).numpy()
    with torch.no_grad():
        logits = load(base, torch.float32, CPU)(torch.from_numpy(windows)).logits
    assert not logits.isfinite().any()
    nll = np.full((3, 7), np.nan, np.float32)
    inputs = Inputs(base, COMPUTE, "evaluations.e")
    assert overflow_warnings(inputs, windows, nll) == [
        "21 of 21 losses are not finite: the model itself overflows in float32, in block 0, and no "
        "other compute.dtype helps"
    ]
    assert overflow_warnings(inputs, windows, np.zeros((3, 7), np.float32)) == []
    half = Inputs(base, Compute(device="cpu", dtype="float16"), "evaluations.e")
    with pytest.raises(MeltpointError, match="holds NaN or infinite weights in float16"):
        overflow_warnings(half, windows, nll)


def test_weights_that_overflow_are_not_written(tmp_path):
    tensor = torch.tensor([[1.0, float("inf")]])
    with pytest.raises(
        MeltpointError, match="of a are not finite: the model itself overflows in flo"
    ):
        Writer(tmp_path).write({"a": tensor})
    with pytest.raises(
        MeltpointError, match=r"in bfloat16: this step .* set compute.dtype to float32$"
    ):
        Writer(tmp_path).write({"a": tensor.bfloat16()})
