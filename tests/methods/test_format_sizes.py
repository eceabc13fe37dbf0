"""What each quantization format stores beside the codes, by the format's own formula."""

import pytest

from meltpoint.checkpoints.description import Description
from meltpoint.evaluations.size import size
from tests.support.steps import run
from tests.support.tiny_models import random_tokens, save_model

# Of a linear of 256 columns and R rows: bits of scales and zero points for each column and row, and of
# what is stored once, in the study's float32.
OVERHEADS = {
    "gptq@4bit": lambda rows, columns: rows * columns / 128 * (16 + 4) + 32 * columns,
    "nf4": lambda rows, columns: rows * columns / 64 * 32,
    "int8": lambda rows, columns: 32 * rows,
    "smoothquant@w8a8": lambda rows, columns: 32 * rows,
    "awq@4bit": lambda rows, columns: rows * columns / 128 * (32 + 4),
    "rtn@4bit": lambda rows, columns: rows * columns / 128 * (16 + 4),
}


@pytest.mark.parametrize("step", OVERHEADS)
def test_overheads_are_those_of_the_format(step, tmp_path):
    """To within what belongs to no weight: shapes, tables of codes, the library's notes."""
    import numpy as np

    sizes = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
    np.save(tmp_path / "windows.npy", random_tokens(6, 48).numpy())
    base = save_model(tmp_path / "base", "llama", **sizes)
    target = run(base, tmp_path / "target", step, tmp_path / "windows.npy")
    shapes = [layer.shape for layer in Description.read(target).linears.values()]
    code = 4 if step in ("nf4",) or "4bit" in step else 8
    linears = sum(rows * columns for rows, columns in shapes)
    expected = sum(code * r * c + OVERHEADS[step](r, max(c, 128)) for r, c in shapes)
    counts = size(target)
    rest = 32 * (counts["parameters"] - linears)
    found = counts["bits_per_weight"] * counts["parameters"] - rest
    # A linear's notes: at most the kilobyte of bitsandbytes.
    assert 0 <= found - expected <= 8 * 1200 * len(shapes)
