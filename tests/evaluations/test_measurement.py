"""What all kinds have in common: comparison with dense, what does not apply, engines, cells."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from meltpoint import evaluations
from meltpoint.checkpoints.description import Description
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations import size
from meltpoint.evaluations.cells import Cell, Score
from meltpoint.evaluations.contract import Estimate, Measurement
from meltpoint.evaluations.measurement import LazyEngine, compare, difference
from tests.support.measuring import job_spec, measure
from tests.support.tiny_models import random_tokens, save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("measurement") / "model", "llama")


@pytest.fixture
def tokens(tmp_path):
    np.save(tmp_path / "tokens.npy", random_tokens(1, 200).numpy()[0])
    np.save(tmp_path / "ends.npy", np.arange(1, 201))
    return {"tokens": tmp_path / "tokens.npy", "token_ends": tmp_path / "ends.npy"}


def perplexity(**settings):
    """Without fidelity, so that all scores of both sides are paired."""
    return job_spec("perplexity", perplexity="c", **{"window": 16, "fidelity": False, **settings})


def test_units_are_paired_and_other_errors_are_independent():
    random = np.random.default_rng(0)
    units, base = random.normal(3, 1, 50), random.normal(2, 1, 50)
    paired = difference(Estimate(3, 0.3, units), Estimate(2, 0.4, base))
    assert paired.value == 1
    assert paired.stderr == pytest.approx((units - base).std(ddof=1) / math.sqrt(50))
    assert difference(Estimate(3, 0.3), Estimate(2, 0.4)).stderr == pytest.approx(0.5)
    assert difference(Estimate(3), Estimate(2, 0.4)).stderr is None


def test_a_checkpoint_is_compared_with_dense_window_by_window(model, tokens, tmp_path):
    dense = measure(perplexity(), model, tmp_path / "dense.json", **tokens)
    for score in dense.scores.values():
        assert score.difference.model_dump() == {"value": 0.0, "stderr": 0.0}
    other = save_model(tmp_path / "other", "llama", rms_norm_eps=0.1)
    cell = measure(perplexity(), other, tmp_path / "c.json", tmp_path / "dense.json", **tokens)
    for name, score in cell.scores.items():
        value = score.value - dense.scores[name].value
        assert score.difference.value == pytest.approx(value, rel=1e-9)
        assert 0 < score.difference.stderr < math.hypot(score.stderr, dense.scores[name].stderr)


def test_what_is_kept_of_other_windows_cannot_be_paired(model, tokens, tmp_path):
    measure(perplexity(), model, tmp_path / "dense.json", **tokens)
    with pytest.raises(
        MeltpointError, match=r"\[25, 7\] of this model and \[12, 15\] of the dense"
    ):
        measure(perplexity(window=8), model, tmp_path / "c.json", tmp_path / "dense.json", **tokens)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"{"])
def test_a_broken_file_of_the_dense_model_is_named(tmp_path, content):
    score = Score(value=2.0, stderr=0.1, unit="per token", better="lower")
    dense = Cell(
        model="m", chain="dense", evaluation="e", kind="perplexity", main="perplexity",
        scores={"perplexity": score}, requested={}, achieved={}, protocol={}, provenance={},
    )  # fmt: skip
    dense.write(tmp_path / "e.json")
    kind = evaluations.find("perplexity")
    files = [tmp_path / "e.json", *map(Path, kind.files_beside(str(tmp_path / "e.json")))]
    files[1].write_bytes(content)
    with pytest.raises(
        MeltpointError, match=r"e.nll.npy cannot be read .* delete it and .*e.json and"
    ):
        compare(kind, None, None, {}, {}, files)


def test_exact_numbers_have_exact_differences(model, tmp_path):
    spec = job_spec("size", size="weights")
    dense = measure(spec, model, tmp_path / "dense.json")
    assert dense.cost.device == "cpu"
    cell = measure(spec, model, tmp_path / "cell.json", tmp_path / "dense.json")
    for score in cell.scores.values():
        assert score.difference.model_dump() == {"value": 0, "stderr": None}


def test_a_checkpoint_that_does_not_apply_is_not_measured(tokens, tmp_path):
    folder = tmp_path / "marker"
    folder.mkdir()
    Description(status="not_applicable", reason="no kernel", requested={"zeros": 0.5}).write(folder)
    cell = measure(perplexity(), folder, tmp_path / "cell.json", **tokens)
    assert (cell.status, cell.reason, cell.scores) == ("not_applicable", "no kernel", {})
    assert (cell.requested, cell.achieved) == ({"zeros": 0.5}, {})
    assert np.load(tmp_path / "cell.nll.npy").size == 0


def test_what_a_kind_cannot_measure_is_a_result(model, tmp_path, monkeypatch):
    def cannot(*_):
        raise NotApplicable("no scale for it")

    monkeypatch.setattr(size, "measure", cannot)
    cell = measure(job_spec("size", size="weights"), model, tmp_path / "cell.json")
    assert (cell.status, cell.reason) == ("not_applicable", "no scale for it")


def test_there_is_no_difference_to_a_dense_cell_that_does_not_apply(model, tokens, tmp_path):
    facts = measure(perplexity(), model, tmp_path / "dense.json", **tokens).model_dump(
        exclude={"status", "reason", "scores", "cost"}
    )
    Cell.not_applicable("windows too long", **facts).write(tmp_path / "dense.json")
    np.save(tmp_path / "dense.nll.npy", np.empty(0))
    cell = measure(perplexity(), model, tmp_path / "c.json", tmp_path / "dense.json", **tokens)
    assert cell.status == "ok"
    assert cell.scores["perplexity"].difference is None


def test_a_refused_score_is_not_compared(model, tmp_path, monkeypatch):
    spec = job_spec("size", size="weights")
    measure(spec, model, tmp_path / "dense.json")
    estimates = {name: Estimate(1) for name in ("parameters", "nonzeros", "bytes")}
    estimates |= {"bits_per_weight": Estimate(refused="no weight at all")}
    estimates |= {"decoder_bits_per_weight": Estimate(2)}
    monkeypatch.setattr(size, "measure", lambda *_: Measurement(estimates))
    cell = measure(spec, model, tmp_path / "cell.json", tmp_path / "dense.json")
    refused = cell.scores["bits_per_weight"]
    assert (refused.status, refused.value, refused.difference) == ("refused", None, None)
    assert refused.reason == "no weight at all"
    assert cell.scores["parameters"].difference.value < 0


def test_inputs_are_checked_before_weights_are_read(model, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.measuring.open_engine", lambda *_: pytest.fail("opened"))
    np.save(tokens["tokens"], np.full(200, 10**6))
    with pytest.raises(MeltpointError, match="holds token 1000000"):
        measure(perplexity(), model, tmp_path / "cell.json", **tokens)


def test_an_engine_is_opened_once_and_let_go():
    log = []

    class Engine:
        name = "engine"

        def __enter__(self):
            log.append("open")
            return self

        def __exit__(self, *_):
            log.append("close")

    inputs = SimpleNamespace(checkpoint=None, compute=None)
    lazy = LazyEngine(lambda *_: Engine(), inputs)
    assert not log
    assert lazy.name == lazy.name == "engine"
    lazy.close()
    assert log == ["open", "close"]


def test_the_protocol_has_settings_compute_and_what_was_found(model, tokens, tmp_path):
    cell = measure(perplexity(), model, tmp_path / "cell.json", **tokens)
    expected = {
        "perplexity": "c",
        "window": 16,
        "windows": 12,
        "scoring": "all",
        "dtype": "float32",
    }
    assert cell.protocol.items() >= expected.items()
    assert cell.protocol["engine"] == "transformers"
    assert cell.provenance["checkpoint"] == Description.read(model).hash
    assert cell.cost.seconds > 0
