"""What SparseGPT's column loop must not do to the zeros of earlier steps."""

import numpy as np
import pytest

from meltpoint.checkpoints.description import Description
from tests.support.steps import linear_names, run, weights
from tests.support.tiny_models import random_tokens, save_model


@pytest.mark.parametrize("level", ["0.7", "2of4"])
def test_zeros_stay_beyond_a_block_of_columns(level, tmp_path):
    """What a block's error does to the columns after it must not fill their zeros."""
    windows = tmp_path / "windows.npy"
    np.save(windows, random_tokens(6, 48).numpy())
    base = save_model(tmp_path / "base", "llama")
    parent = run(base, tmp_path / "parent", "magnitude@0.4", windows)
    child = run(parent, tmp_path / "child", f"sparsegpt@{level},blocksize=16", windows)
    before, after = weights(parent), weights(child)
    assert not Description.read(child).zeros_lost
    assert all((after[n][before[n] == 0] == 0).all() for n in linear_names(parent))
