"""Fidelity against llama.cpp's own `llama-perplexity --kl-divergence`, on the same two files.

The environment variable MELTPOINT_LLAMA_PERPLEXITY names the program; without it nothing is compared.
"""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

from safetensors.torch import load_file, save_file

from meltpoint.data.tokenization import first_token
from meltpoint.llamacpp.session import tokenize
from meltpoint.model.base_models import link
from tests.support import hanging
from tests.support.measuring import job_spec, measure
from tests.support.steps import run
from tests.support.tiny_models import save_model
from tests.support.tiny_study import VOCABULARY, sentences, train_tokenizer

PROGRAM = os.environ.get("MELTPOINT_LLAMA_PERPLEXITY")
WINDOW, COUNT = 256, 12
SIZES = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "initializer_range": 0.2}
NUMBERS = {
    "kl": (r"Mean\s+KLD:\s+([\d.]+)", 1),
    "top1_agreement": (r"Same top p:\s+([\d.]+)", 100),
    "perplexity": (r"Mean PPL\(Q\)\s+:\s+([\d.]+)", 1),
}

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="MELTPOINT_LLAMA_PERPLEXITY does not name llama-perplexity"
)


def dense_model(folder: Path, lines: list[str]) -> Path:
    """A random Llama whose weights 16 bits hold, so that its F16 file is the dense model."""
    plain = save_model(folder / "plain", "llama", vocab_size=VOCABULARY, **SIZES)
    train_tokenizer(lines).save_pretrained(plain)
    for file in plain.glob("*.safetensors"):
        weights = {name: w.half().float() for name, w in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
    link(plain, folder / "dense", "models.random")
    return folder / "dense"


def printed(*arguments: object) -> str:
    """Output of llama-perplexity in windows of `WINDOW`, one at a time."""
    command = [PROGRAM, "-c", str(WINDOW), "-b", str(WINDOW), "-t", "1", *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=hanging.SECONDS)
    return found.stdout + found.stderr


def test_divergences_are_those_of_llama_cpp(tmp_path):
    lines = sentences(100)
    dense = dense_model(tmp_path, lines)
    np.save(tmp_path / "windows.npy", np.random.default_rng(0).integers(3, VOCABULARY, (4, 64)))
    files = {
        scheme: run(dense, tmp_path / scheme, f"gguf@{scheme}", tmp_path / "windows.npy")
        for scheme in ("f16", "q4_k_m")
    }
    models = {scheme: folder / "model.gguf" for scheme, folder in files.items()}
    text = "\n".join(lines)
    (tmp_path / "text.txt").write_text(text)
    # The program begins the text, and each window, with the first token.
    first = [token for token in [first_token(dense)] if token is not None]
    tokens = np.array([*first, *tokenize(models["f16"], [text])[0]], np.int32)
    assert len(tokens) > COUNT * WINDOW
    np.save(tmp_path / "tokens.npy", tokens)
    np.save(tmp_path / "ends.npy", np.empty(0, np.int64))
    read = {"tokens": tmp_path / "tokens.npy", "token_ends": tmp_path / "ends.npy"}
    spec = job_spec("perplexity", perplexity="c", window=WINDOW, scoring="llama.cpp")
    measure(spec, dense, tmp_path / "d.json", dense_checkpoint=dense, **read)
    cell = measure(
        spec, files["q4_k_m"], tmp_path / "q.json", tmp_path / "d.json",
        dense_checkpoint=dense, **read,
    )  # fmt: skip

    base = ("--kl-divergence-base", tmp_path / "base.dat")
    printed("-m", models["f16"], "-f", tmp_path / "text.txt", *base)
    output = printed("-m", models["q4_k_m"], *base, "--kl-divergence")
    theirs = {
        name: float(re.search(pattern, output)[1]) / scale
        for name, (pattern, scale) in NUMBERS.items()
    }
    ours = {name: cell.scores[name].value for name in NUMBERS}
    print(ours, theirs)
    assert ours["kl"] > 1e-3
    assert ours["kl"] == pytest.approx(theirs["kl"], rel=1e-3)
    assert ours["top1_agreement"] == pytest.approx(theirs["top1_agreement"], abs=1e-3)
    assert ours["perplexity"] == pytest.approx(theirs["perplexity"], rel=1e-3)
