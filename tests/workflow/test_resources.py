"""What a compression asks of a scheduler, and what the first lines of a run say of memory."""

import re
from pathlib import Path

import numpy as np
import pytest

from meltpoint.methods.contract import Resources
from meltpoint.study.config import load
from meltpoint.study.resolved import Study
from meltpoint.workflow import cost
from meltpoint.workflow.cost import JobResources
from meltpoint.workflow.dense_disk import dense_bytes

tiny_study = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
HUB = {"hub": "owner/name", "revision": "0" * 40}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The tiny study with other models or another compute section."""
    tiny_study.write(tmp_path / "studies")
    monkeypatch.chdir(tmp_path)

    def resolve(**changes):
        raw = tiny_study.study()
        for section, change in changes.items():
            raw[section].update(change)
        return Study(load(raw, "tiny.yaml"), tmp_path / "studies")

    return resolve


def test_memory_is_what_the_method_declares_times_the_model(study):
    one, three = (
        JobResources(study(), "tiny", Resources(memory=factor)).mem_mb for factor in (1e4, 3e4)
    )
    size = cost.model_bytes(study(), "tiny")
    assert 4 * 20_000 < size < 4 * 40_000
    assert three - one == pytest.approx(2e4 * size / 1e6, abs=1)


def test_a_study_on_a_gpu_asks_for_one_and_a_method_for_as_many_as_it_needs(study):
    on_cpu, on_gpu = study(), study(compute={"device": "cuda"})
    assert JobResources(on_cpu, "tiny", Resources()).gpu == 0
    assert JobResources(on_cpu, "tiny", Resources(gpu=2)).gpu == 2
    assert JobResources(on_gpu, "tiny", Resources()).gpu == 1
    assert JobResources(on_gpu, "tiny", Resources(minutes=7)).runtime == 7


def test_the_summary_says_of_which_models_nothing_is_known(study):
    some = cost.summary(study(models={"other": HUB}), "tiny.yaml")
    assert re.search(r"a job holds about 7\d\d MB", some)
    assert "memory of other are unknown until fetched" in some
    both = cost.summary(study(models={"other": HUB, "tiny": HUB}), "tiny.yaml")
    assert "of tiny, other are unknown until fetched" in both
    assert "a job holds" not in both
    assert "unknown" not in cost.summary(study(), "tiny.yaml")


def test_the_summary_counts_the_dense_models_hidden_states(study):
    """16 windows of 32 tokens give 16 x 31 vectors of 32 float32 numbers: 63 kB."""
    declared = study(evaluations={"prose-32": {"perplexity": "prose", "window": 32, "windows": 16}})
    assert dense_bytes(declared) == (16 * 31 * 32 * 4, ["fixed-32"])
    summary = cost.summary(declared, "tiny.yaml")
    assert "Of that, 63.5 kB are hidden states of dense models" in summary
    assert "hidden states of fixed-32 are not counted" in summary
    tokens = Path("results/tiny/tokens/tiny/fixed.npy")
    tokens.parent.mkdir(parents=True)
    np.save(tokens, np.zeros(2000, np.int32))
    assert dense_bytes(declared) == ((16 + 62) * 31 * 32 * 4, [])
    half = study(compute={"dtype": "bfloat16"})
    assert dense_bytes(half) == (62 * 31 * 32 * 2, ["prose-32"])
    without = {"perplexity": "prose", "window": 32, "fidelity": False}
    none = study(evaluations={"prose-32": without, "fixed-32": without})
    assert dense_bytes(none) == (0, [])
