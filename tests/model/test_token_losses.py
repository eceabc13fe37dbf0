"""Losses behind the last block are those of the whole model."""

import pytest
import torch
from torch import nn

from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk
from meltpoint.model.load import load
from meltpoint.model.token_losses import head_of
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["llama", "opt", "gemma2"])
def test_a_large_vocabulary_does_not_blur_the_losses(tmp_path, family):
    """Added up one by one in float32, 150,000 probabilities are off by up to 7e-5."""
    base = save_model(tmp_path, family, vocab_size=150_000)
    windows, compute = random_tokens(3, 16), Compute(device="cpu", dtype="float32", batch=2)
    walk = Walk(Reader(base, torch.float32, CPU), windows, compute)
    with torch.no_grad():
        walk.embed()
        for index in range(len(walk.blocks)):
            empty_model.fill(walk.model, walk.reader.read(walk.names(index)))
            walk.advance(index)
        with head_of(walk) as losses:
            found = losses(windows, walk.hidden)
        logits = load(base, torch.float64, CPU)(input_ids=windows).logits[:, :-1]
    expected = nn.functional.cross_entropy(logits.mT, windows[:, 1:], reduction="none")
    assert found.shape == (3, 15)
    assert (found.double() - expected).abs().max() < 2e-5
