"""Rounding by libraries on small trained models: what random weights cannot show."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from meltpoint.compute import Compute
from meltpoint.data.tokenization import tokenizer_of
from meltpoint.evaluations.engines._model_engine import token_nll
from meltpoint.evaluations.perplexity import perplexity
from meltpoint.evaluations.windows import cut
from meltpoint.model.base_models import verify, write_description
from meltpoint.model.load import load
from tests.support.steps import run

DATA = Path(__file__).parents[3] / "shared/data"
STORIES = DATA / "corpora/tinystories/tinystories_1000.json"


def trained(name: str, target: Path) -> Path:
    """A copy of a trained model, described as a base model; skips where it is absent."""
    source = DATA / "models" / name
    if not source.exists():
        pytest.skip(f"needs a trained model, {source}")
    shutil.copytree(source, target)
    write_description(target, verify(target))
    return target


def windows_of(folder: Path, stories: list[str]) -> np.ndarray:
    """The first 48 windows of 256 tokens of stories, joined, int64."""
    tokenizer = tokenizer_of(folder)
    ids = [tokenizer(story)["input_ids"] for story in stories]
    return cut(np.concatenate([np.array(x) for x in ids]), 256, 48).astype(np.int64)


def measured(folder: Path, windows: np.ndarray) -> float:
    """Perplexity of a checkpoint."""
    model = load(folder, torch.float32, torch.device("cpu"))
    return perplexity(token_nll(model, windows, Compute("cpu"))).value


@pytest.fixture(scope="module")
def stories() -> list[str]:
    if not STORIES.exists():
        pytest.skip(f"needs stories, {STORIES}")
    return list(map(str, json.loads(STORIES.read_text())))


def test_bitsandbytes_keeps_the_perplexity(stories, tmp_path):
    base = trained("stories260K", tmp_path / "base")
    windows = windows_of(base, stories[:100])
    steps = ("int8", "nf4", "fp4")
    values = {step: measured(run(base, tmp_path / step, step, None), windows) for step in steps}
    dense = measured(base, windows)
    assert values["int8"] == pytest.approx(dense, rel=0.005)
    assert dense < values["nf4"] < values["fp4"] < 1.3 * dense


@pytest.mark.parametrize("bits", [3, 2])
def test_gptq_is_better_than_rounding(bits, stories, tmp_path):
    """Tied embeddings too. Measured at 3 and 2 bits: 61 and 326, round-to-nearest 79 and 1785."""
    base = trained("tinystories-656K", tmp_path / "base")
    np.save(tmp_path / "w.npy", windows_of(base, stories[:500]).astype(np.int32))
    test = windows_of(base, stories[500:])
    values = {}
    for step in (f"rtn@{bits}bit,symmetric=true", f"gptq@{bits}bit"):
        target = run(base, tmp_path / step, step, tmp_path / "w.npy")
        values[step[:3]] = measured(target, test)
        assert measured(target, test) == values[step[:3]]
    assert measured(base, test) < values["gpt"] < 0.9 * values["rtn"]
