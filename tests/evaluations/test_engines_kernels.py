"""A checkpoint with the kernels of the library that packed it."""

from types import SimpleNamespace

import numpy as np
import pytest

from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.evaluations.engines import kernels, open_engine
from tests.support.specs import compress_spec
from tests.support.tiny_models import random_tokens, save_model

COMPUTE = Compute(device="cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels") / "base"
    return save_model(folder, "qwen2", hidden_size=256, intermediate_size=512)


def test_a_plain_checkpoint_runs_in_transformers(base):
    with open_engine(base, COMPUTE, kernels=True) as engine:
        assert engine.provenance == {"engine": "transformers", "kernels": "Linear"}
        assert engine.load_seconds > 0


def test_hqq_runs_its_own_linears_and_all_questions_can_be_asked(base, tmp_path):
    pytest.importorskip("hqq", reason="hqq is not installed")
    step = compress_spec("hqq@4bit", {})
    compress(base, tmp_path / "hqq", step, [], COMPUTE)
    windows = random_tokens(3, 24).numpy()
    with open_engine(tmp_path / "hqq", COMPUTE) as decoded:
        nll, text = decoded.nll(windows), decoded.generate([[1, 2, 3]], 5)
    with open_engine(tmp_path / "hqq", COMPUTE, kernels=True) as engine:
        assert engine.provenance == {"engine": "hqq", "kernels": "HQQLinear"}
        np.testing.assert_allclose(engine.nll(windows), nll, rtol=1e-3)
        assert engine.generate([[1, 2, 3]], 5) == text
        (answer,) = engine.loglikelihood([([1, 2, 3], text[0])])
    assert answer[1] is True


def test_a_format_s_library_is_imported_before_the_load_is_timed(base, monkeypatch):
    clock = [0.0]

    def wait(seconds, result=None):
        clock[0] += seconds
        return result

    loaded = kernels.load(base, COMPUTE)
    monkeypatch.setattr(kernels, "quantization_config", lambda _: {"quant_method": "bitsandbytes"})
    importing = SimpleNamespace(import_module=lambda _: wait(100))
    monkeypatch.setattr(kernels, "importlib", importing)
    monkeypatch.setattr(kernels, "load", lambda *_: wait(2, loaded))
    monkeypatch.setattr(kernels, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    with kernels.open(base, COMPUTE) as engine:
        assert engine.load_seconds == 2
        assert engine.name == "bitsandbytes"
    assert clock[0] == 102
