"""How fast a checkpoint runs: what is measured and said of it, never how fast."""

import math

import pytest

from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import speed
from meltpoint.evaluations.speed import Timing, median, summarise
from tests.support.measuring import COMPUTE, job_spec, measure
from tests.support.specs import compress_spec
from tests.support.tiny_models import save_model

RATES = ("generated_tokens_per_second", "prompt_tokens_per_second")


def spec(**changes):
    settings = {"speed": "generation", "prompt": 16, "generated": 4, "runs": 3}
    return job_spec("speed", "speed", **settings | changes)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("speed") / "model", "llama")


@pytest.fixture(scope="module")
def dense(model):
    path = model.parent / "dense.json"
    return measure(spec(), model, path), path


def test_a_cell_says_what_was_timed_in_what(dense):
    cell, _ = dense
    assert cell.main == "generated_tokens_per_second"
    for rate in RATES:
        assert cell.scores[rate].unit == "tokens/s"
        assert cell.scores[rate].better == "higher"
        assert cell.scores[rate].value > 0
        assert cell.scores[rate].stderr > 0
        assert cell.scores[rate].difference.model_dump() == {"value": 0.0, "stderr": 0.0}
    said = {key: cell.protocol[key] for key in ("engine", "kernels", "device", "prompt", "runs")}
    assert said == {"engine": "transformers", "kernels": "Linear", "device": "cpu", "prompt": 16,
                    "runs": 3}  # fmt: skip
    assert cell.protocol["memory_of"] == "process"
    assert cell.cost.device == "cpu"


def test_the_difference_is_to_the_dense_cell_and_not_paired(model, dense, tmp_path):
    base, path = dense
    cell = measure(spec(), model, tmp_path / "cell.json", path)
    for rate in RATES:
        score, dense_score = cell.scores[rate], base.scores[rate]
        assert score.difference.value == pytest.approx(score.value - dense_score.value)
        error = math.hypot(score.stderr, dense_score.stderr)
        assert score.difference.stderr == pytest.approx(error)


@pytest.mark.parametrize("name", ["load_seconds", "peak_memory"])
def test_what_is_measured_once_has_no_error(name, model, dense, tmp_path):
    cell = measure(spec(), model, tmp_path / "cell.json", dense[1])
    assert cell.scores[name].value > 0
    assert cell.scores[name].stderr is None
    assert cell.scores[name].difference.stderr is None


def test_the_median_of_the_runs_is_taken():
    rates = [10, 1000, 20, 30, 40], [1, 2, 3, 4, 100]
    timing = Timing(2.0, *rates, "transformers", "Linear", "cpu", 4096, "process")
    estimates = summarise(timing)
    assert estimates["prompt_tokens_per_second"].value == 30
    assert estimates["generated_tokens_per_second"].value == 3
    assert estimates["load_seconds"].value == 2.0
    assert estimates["peak_memory"].value == 4096


def test_the_error_of_a_median_is_that_of_normal_values():
    estimate = median([8.0, 9.0, 10.0, 11.0, 12.0])
    assert estimate.value == 10.0
    assert estimate.stderr == pytest.approx(math.sqrt(math.pi / 2 * 2.5 / 5), rel=1e-4)


def test_more_tokens_than_positions_are_refused(model, tmp_path):
    with pytest.raises(MeltpointError, match=r"evaluations\.speed: .* are 104, .* 64 positions"):
        measure(spec(prompt=100), model, tmp_path / "cell.json")


def test_hqq_is_timed_with_its_own_linears(tmp_path):
    pytest.importorskip("hqq", reason="hqq is not installed")
    base = save_model(tmp_path / "base", "qwen2", hidden_size=256, intermediate_size=512)
    step = compress_spec("hqq@4bit", {})
    compress(base, tmp_path / "hqq", step, [], COMPUTE)
    cell = measure(spec(), tmp_path / "hqq", tmp_path / "cell.json")
    assert cell.protocol["kernels"] == "HQQLinear"
    assert cell.scores["generated_tokens_per_second"].value > 0


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
    cell = measure(spec(), model, tmp_path / "cell.json", compute=Compute(device="cuda"))
    assert cell.protocol["device"] == cell.cost.device == device
    assert cell.protocol["memory_of"] == memory_of
    memory = cell.scores["peak_memory"].value
    assert (memory == 12345) is (taken is not None)
    assert memory > 0


def test_a_pruned_model_is_said_to_run_like_a_dense_one(model, tmp_path):
    compress(
        model, tmp_path / "pruned", compress_spec("magnitude@0.5", {"variant": False}), [], COMPUTE
    )
    cells = [measure(spec(), m, tmp_path / "cell.json") for m in (model, tmp_path / "pruned")]
    warnings = [cell.provenance["warnings"] for cell in cells]
    assert warnings[0] == []
    assert "50% of the linears' weights are zeros, which no kernel skips" in warnings[1][0]
