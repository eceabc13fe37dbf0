"""What a nominal level removes of Llama-2-7B: the fraction of all parameters, by shapes alone.

A method that means its level otherwise than as a fraction of the parameters adds its row to `TABLE`.
"""

import json

import pytest
import torch
from transformers import LlamaConfig

from meltpoint.chain import Sparsity
from meltpoint.methods import _slicegpt_width
from meltpoint.model import empty_model
from tests.support.structured_golden import GOLDEN

WIDTH = 4096
# Channels that SliceGPT keeps and the fraction of all parameters that is gone, by level.
SLICEGPT = {
    0.1: (3680, -0.030),
    0.2: (3272, 0.094),
    0.25: (3072, 0.153),
    0.3: (2864, 0.215),
    0.4: (2456, 0.332),
    0.5: (2048, 0.447),
    0.6: (1632, 0.560),
    0.7: (1224, 0.668),
    0.8: (816, 0.773),
}


@pytest.fixture(scope="module")
def llama():
    """Llama-2-7B without weights; its head is not tied."""
    return empty_model.from_config(LlamaConfig(vocab_size=32000), torch.float16)


def slicegpt(model, level):
    """Fraction of all parameters that SliceGPT removes: the blocks' and the embeddings' columns."""
    kept = _slicegpt_width.kept_width(Sparsity(level), WIDTH, 8)
    _, blocks = empty_model.decoder_blocks(model)
    before = sum(p.numel() for p in model.parameters())
    outside = before - sum(p.numel() for p in blocks.parameters())
    left = outside - model.config.vocab_size * (WIDTH - kept)
    left += _slicegpt_width.decoder_parameters(blocks, WIDTH, kept)
    return kept, 1 - left / before


def test_llama_2_7b_is_that_of_the_table(llama):
    assert sum(p.numel() for p in llama.parameters()) == 6_738_415_616


@pytest.mark.parametrize("level", SLICEGPT)
def test_slicegpt_removes_of_llama_2_7b_what_the_table_says(level, llama):
    width, fraction = SLICEGPT[level]
    kept, gone = slicegpt(llama, level)
    assert kept == width
    assert gone == pytest.approx(fraction, abs=6e-4)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden numbers are not there")
def test_slicegpt_removes_of_llama_2_7b_what_the_official_code_does(llama):
    golden = json.loads((GOLDEN / "stories260K.json").read_text())["llama2_7b_true_ratios"]
    for level, fraction in golden["slicegpt"].items():
        assert slicegpt(llama, float(level))[1] == pytest.approx(fraction, abs=6e-5)
