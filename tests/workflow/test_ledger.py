"""The cost ledger, from benchmark files and cells that are made up."""

import contextlib
import csv
import time
from pathlib import Path

import pytest

from meltpoint.compression.resume import resume_path
from meltpoint.evaluations.cells import Cell, Score
from meltpoint.study.config import load
from meltpoint.study.resolved import Study
from meltpoint.workflow import tries
from meltpoint.workflow.job_costs import JobCosts
from meltpoint.workflow.ledger import Ledger
from meltpoint.workflow.model_sizes import ModelSizes
from meltpoint.workflow.tries import counted_tries

tiny_study = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
RESULTS = Path("results/tiny")


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """The tiny study's, in a folder of its own."""
    tiny_study.write(tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    study = Study(load(tiny_study.study(), "tiny.yaml"), tmp_path / "studies")
    jobs = JobCosts(study, ModelSizes(study), str(RESULTS)).all()
    return Ledger(study, jobs, RESULTS)


def benchmark(path: str, seconds: float) -> None:
    file = RESULTS / "benchmarks" / f"{path}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"s\tcpu_time\n1\t{seconds}\n")


def cell(chain: str, evaluation: str, value: float) -> None:
    score = Score(value=value, stderr=1.0, unit="per token", better="lower")
    facts = {
        **{"model": "tiny", "chain": chain, "evaluation": evaluation, "kind": "perplexity"},
        **{"main": "perplexity", "requested": {}, "achieved": {}, "protocol": {}},
    }
    path = RESULTS / f"cells/tiny/{chain}/{evaluation}.json"
    Cell(**facts, provenance={}, scores={"perplexity": score}).write(path)


def read() -> list[dict]:
    with Path("cost.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_a_chain_costs_what_all_of_its_steps_took(ledger):
    benchmark("compress/tiny/magnitude@0.25", 3.0)
    benchmark("compress/tiny/magnitude@0.25+wanda@0.5", 4.5)
    benchmark("evaluate/tiny/magnitude@0.25+wanda@0.5/fixed-32", 6.0)
    cell("magnitude@0.25+wanda@0.5", "fixed-32", 71.5)
    cell("dense", "fixed-32", 60.0)
    ledger.write(Path("cost.csv"))
    dense, chain = read()
    assert (dense["chain"], dense["family"], dense["cpu_seconds_to_make"]) == ("dense", "dense", "")
    assert chain["family"] == "unstructured+unstructured"
    assert (chain["cpu_seconds_to_make"], chain["cpu_seconds_to_measure"]) == ("7.5", "6.0")
    assert (chain["fixed-32"], chain["prose-32"]) == ("71.5", "")


def test_a_job_that_went_on_costs_its_earlier_tries_too(ledger, tmp_path, caplog, monkeypatch):
    """A try that is killed behind a state, one that fails, and one that succeeds."""
    monkeypatch.setattr(tries, "EVERY", 0.01)
    caplog.set_level("INFO")
    target, spec = tmp_path / "checkpoint", "{}"
    file = tmp_path / f".checkpoint.tries-{resume_path(target, spec).name[-16:]}"

    def wait_for(seconds: float) -> None:
        end = time.monotonic() + 20
        while not file.exists() or float(file.read_text()) < seconds:
            assert time.monotonic() < end
            time.sleep(0.01)

    with contextlib.suppress(KeyboardInterrupt), counted_tries(target, spec):
        resume_path(target, spec).mkdir()
        wait_for(0.0)
        raise KeyboardInterrupt
    file.write_text("1000.5")
    with contextlib.suppress(KeyboardInterrupt), counted_tries(target, spec):
        wait_for(1000.6)
        raise KeyboardInterrupt
    assert not caplog.messages
    file.write_text("2000.5")
    with counted_tries(target, spec):
        resume_path(target, spec).rmdir()
    assert caplog.messages == ["CPU-seconds of earlier tries: 2000.5"]
    assert not list(tmp_path.glob(".checkpoint*"))
    with counted_tries(target, spec):
        pass
    assert len(caplog.messages) == 1

    chain = "magnitude@0.25+wanda@0.5"
    benchmark(f"compress/tiny/{chain}", 3.0)
    log = RESULTS / f"logs/compress/tiny/{chain}.log"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n" + caplog.messages[0] + "\n")
    cell(chain, "fixed-32", 71.5)
    ledger.write(Path("cost.csv"))
    assert read()[0]["cpu_seconds_to_make"] == "2003.5"


def test_without_a_cell_there_is_no_ledger(ledger):
    ledger.write(Path("cost.csv"))
    assert not Path("cost.csv").exists()
