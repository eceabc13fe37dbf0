"""How fast a checkpoint runs: what is measured and said of it, never how fast."""

import json
import math

import pytest

from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import speed
from meltpoint.evaluations.speed import Timing, measure, median, summarise
from tests.support.tiny_models import save_model

COMPUTE = Compute(device="cpu")


def recipe(**changes):
    cell = {"model": "tiny", "chain": "dense", "evaluation": "speed"}
    protocol = {"speed": "generated_tokens_per_second", "prompt": 16, "generated": 4, "runs": 3}
    return {"cell": cell, "protocol": protocol | changes, "code": "c", "env": "e"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("speed") / "model", "llama")


@pytest.fixture(scope="module")
def dense(model):
    cell = model.parent / "dense.json"
    measure(model, None, cell, recipe(), COMPUTE)
    return cell


def test_a_cell_says_what_was_timed_in_what(dense):
    cell = json.loads(dense.read_text())
    assert cell["metric"] == "generated_tokens_per_second"
    assert cell["unit"] == "tokens/s"
    assert cell["value"] == cell["measured"]["generated_tokens_per_second"] > 0
    assert cell["stderr"] > 0
    said = {key: cell["protocol"][key] for key in ("engine", "kernels", "device", "prompt", "runs")}
    assert said == {"engine": "transformers", "kernels": "Linear", "device": "cpu", "prompt": 16,
                    "runs": 3}  # fmt: skip
    assert cell["protocol"]["memory_of"] == "process"
    assert cell["difference"] == {"value": 0.0, "stderr": 0.0}
    assert cell["measured"]["peak_memory"] > 1e6


def test_the_difference_is_to_the_dense_cell_and_not_paired(model, dense, tmp_path):
    measure(model, dense, tmp_path / "cell.json", recipe(), COMPUTE)
    cell, base = (json.loads(f.read_text()) for f in (tmp_path / "cell.json", dense))
    assert cell["difference"]["value"] == pytest.approx(cell["value"] - base["value"])
    assert cell["difference"]["stderr"] == pytest.approx(math.hypot(cell["stderr"], base["stderr"]))


@pytest.mark.parametrize("what", ["load_seconds", "peak_memory"])
def test_what_is_measured_once_has_no_error(what, model, tmp_path):
    measure(model, None, tmp_path / "cell.json", recipe(speed=what), COMPUTE)
    cell = json.loads((tmp_path / "cell.json").read_text())
    assert cell["value"] > 0
    assert cell["stderr"] is None
    assert cell["difference"] == {"value": 0.0, "stderr": None}


def test_the_median_of_the_runs_is_taken():
    rates = [10, 1000, 20, 30, 40], [1, 2, 3, 4, 100]
    timing = Timing(2.0, *rates, "transformers", "Linear", "cpu", 4096, "process")
    measured = summarise(timing)
    assert measured["prompt_tokens_per_second"][0] == 30
    assert measured["generated_tokens_per_second"][0] == 3
    assert measured["load_seconds"] == (2.0, None)
    assert measured["peak_memory"] == (4096, None)


def test_the_error_of_a_median_is_that_of_normal_values():
    values = [8.0, 9.0, 10.0, 11.0, 12.0]
    assert median(values) == (10.0, pytest.approx(math.sqrt(math.pi / 2 * 2.5 / 5), rel=1e-4))


def test_more_tokens_than_positions_are_refused(model, tmp_path):
    with pytest.raises(MeltpointError, match=r"evaluations\.speed: .* are 104, .* 64 positions"):
        measure(model, None, tmp_path / "cell.json", recipe(prompt=100), COMPUTE)


def test_hqq_is_timed_with_its_own_linears(tmp_path):
    pytest.importorskip("hqq", reason="hqq is not installed")
    base = save_model(tmp_path / "base", "qwen2", hidden_size=256, intermediate_size=512)
    step = {"chain": "hqq@4bit", "step": "hqq@4bit", "settings": {}}
    compress(base, tmp_path / "hqq", step, [], COMPUTE)
    measure(tmp_path / "hqq", None, tmp_path / "cell.json", recipe(), COMPUTE)
    cell = json.loads((tmp_path / "cell.json").read_text())
    assert cell["protocol"]["kernels"] == "HQQLinear"
    assert cell["value"] > 0


@pytest.mark.parametrize(
    ("taken", "device", "memory_of"),
    [(None, "cpu", "process"), (12345, "cuda", "taken of the device's free memory")],
)
def test_a_gguf_cell_says_where_llama_cpp_ran_and_what_it_took(
    model, tmp_path, monkeypatch, taken, device, memory_of
):
    runtime = pytest.importorskip("meltpoint.llamacpp.runtime", reason="gguf is not installed")
    found = runtime.Speed(1.0, [4.0, 5.0, 6.0], [1.0, 2.0, 3.0], device, taken)
    monkeypatch.setattr(runtime, "speed", lambda *_: found)
    monkeypatch.setattr(speed, "holds_gguf", lambda _: True)
    measure(model, None, tmp_path / "cell.json", recipe(), Compute(device="cuda"))
    cell = json.loads((tmp_path / "cell.json").read_text())
    assert cell["protocol"]["device"] == device
    assert cell["protocol"]["memory_of"] == memory_of
    assert (cell["measured"]["peak_memory"] == 12345) is (taken is not None)
    assert cell["measured"]["peak_memory"] > 0
