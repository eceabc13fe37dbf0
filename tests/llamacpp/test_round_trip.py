"""Models written as GGUF files by our own writer, and decoded again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gguf", reason="gguf is not installed")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

from meltpoint.compute import Compute
from meltpoint.data.tokenization import tokenizer_of
from meltpoint.evaluations.engines._model_engine import token_nll
from meltpoint.llamacpp import runtime
from meltpoint.llamacpp.convert import write_gguf
from meltpoint.llamacpp.decode import decode
from meltpoint.llamacpp.session import tokenize
from meltpoint.model.load import load
from tests.support.llama_cases import LLAMA_CASES, llama3_rope
from tests.support.tiny_models import VOCABULARY, random_tokens, save_model
from tests.support.tiny_study import sentences, train_tokenizer

COMPUTE, CPU = Compute(device="cpu"), torch.device("cpu")
SHARED = Path(__file__).parents[3] / "shared/data"
CASES = {
    **LLAMA_CASES,
    # The context that the decoder takes Llama 3.1's divisors to be of.
    "llama 3.1": ("llama", {"rope_parameters": llama3_rope(8192)}),
    "mistral": ("mistral", {}),
}


def round_trip(source: Path, folder: Path) -> Path:
    """The checkpoint decoded from a file in float16 that was made of `source`."""
    write_gguf(source, folder / "model.gguf")
    decode(folder / "model.gguf", folder / "base", torch.float32, "models.m")
    return folder / "base"


@pytest.mark.parametrize("case", CASES)
def test_weights_and_logits_are_those_of_the_model_in_float16(case, tmp_path):
    family, changes = CASES[case]
    source = save_model(tmp_path / "source", family, initializer_range=0.2, **changes)
    train_tokenizer(sentences(), VOCABULARY).save_pretrained(source)
    ours = load(round_trip(source, tmp_path), torch.float32, CPU)
    expected = load(source, torch.float32, CPU)
    with torch.no_grad():
        for name, parameter in expected.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(parameter.half().float())
            assert torch.equal(ours.get_parameter(name), parameter), name
        # Windows of 48 are longer than the sliding window of the Mistral.
        ids = random_tokens(2, 48)
        difference = (ours(ids).logits - expected(ids).logits).abs().max()
    # A file holds the rope's base and the norms' epsilon in float32.
    assert difference < 1e-4


@pytest.mark.skipif(not SHARED.exists(), reason="the real models are not here")
@pytest.mark.parametrize("name", ["stories260K", "babyllama-0.97M-tok361"])
def test_sentence_piece_tokens_are_those_of_the_model_and_of_llama_cpp(name, tmp_path):
    source = SHARED / "models" / name
    base = round_trip(source, tmp_path)
    stories = json.loads((SHARED / "corpora/tinystories/tinystories_1000.json").read_text())
    text = "\n\n".join(stories[:20])
    ours, theirs = tokenizer_of(base), tokenizer_of(source)
    ids = ours(text, add_special_tokens=False).input_ids
    assert ids == theirs(text, add_special_tokens=False).input_ids
    assert [ids] == tokenize(tmp_path / "model.gguf", [text])
    assert ours(text).input_ids[0] == theirs(text).input_ids[0] == ours.bos_token_id
    assert ours.eos_token_id == theirs.eos_token_id
    windows = np.array(ids[: 4 * 128]).reshape(4, 128)
    nll = token_nll(load(base, torch.float32, CPU), windows, COMPUTE)
    llama = runtime.token_nll(tmp_path / "model.gguf", windows, COMPUTE)
    assert abs(np.exp(nll.mean() - llama.mean()) - 1) < 1e-3
