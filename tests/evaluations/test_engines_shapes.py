"""A checkpoint whose shapes no config can say: every engine of transformers runs it."""

import numpy as np
import pytest
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.evaluations.engines import open_engine
from meltpoint.model.load import load
from tests.support.plugins import method_module, register_method
from tests.support.specs import compress_spec
from tests.support.tiny_models import random_tokens, save_model

METHOD = """
    '''Cuts the first block's attention away, a head group of the second and neurons of all.'''

    from meltpoint.chain import Sparsity
    from meltpoint.lazy_import import LazyModule, torch
    from meltpoint.methods.settings import MethodSettings as Settings

    surgery = LazyModule("meltpoint.model.surgery")
    kind = "structured"
    levels = (Sparsity,)
    env = "torch"

    def compress_block(block, statistics, level, settings):
        if block.index == 0:
            surgery.remove_attention(block.module)
        else:
            surgery.keep_heads(block.module, torch.arange(1))
        surgery.keep_neurons(block.module, torch.arange(100 - 10 * block.index))
"""
PROMPTS = [[5, 9, 3], [7] * 11, [1]]
WINDOWS = random_tokens(5, 24).numpy()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    base = save_model(folder / "base", "llama", num_hidden_layers=3, initializer_range=0.2)
    with pytest.MonkeyPatch.context() as patch:
        register_method(patch, method_module("cutting", METHOD))
        spec = compress_spec("cutting@0.2", {})
        compress(base, folder / "cut", spec, [], Compute(device="cpu"))
    assert Description.read(folder / "cut").shapes.irregular
    return folder / "cut"


@pytest.fixture(scope="module")
def model(checkpoint):
    return load(checkpoint, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("kernels", [False, True])
def test_it_is_run_by_our_loader(checkpoint, model, kernels):
    with open_engine(checkpoint, Compute(device="cpu"), kernels=kernels) as engine:
        (logits,) = engine.logits(WINDOWS)
        texts = engine.generate(PROMPTS, 8)
        answers = engine.loglikelihood(list(zip(PROMPTS, texts, strict=True)))
    with torch.no_grad():
        torch.testing.assert_close(logits, model(torch.from_numpy(WINDOWS)).logits)
        for prompt, text in zip(PROMPTS, texts, strict=True):
            read = list(prompt)
            for token in text:
                assert token == int(model(torch.tensor([read])).logits[0, -1].argmax())
                read.append(token)
    assert all(greedy for _, greedy in answers)


def test_it_is_streamed_with_the_same_numbers(checkpoint):
    found = []
    for stream in (False, True):
        with open_engine(checkpoint, Compute(device="cpu", batch=2, stream=stream)) as engine:
            found.append(engine.nll(WINDOWS))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-6)
