"""The cost ledger, from benchmark files and cells that are made up."""

import csv
from pathlib import Path

import pytest

from meltpoint.evaluations.cells import Cell, Score
from meltpoint.study.config import load
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_costs import JobCosts
from meltpoint.workflow.ledger import Ledger
from meltpoint.workflow.model_sizes import ModelSizes

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


def test_without_a_cell_there_is_no_ledger(ledger):
    ledger.write(Path("cost.csv"))
    assert not Path("cost.csv").exists()
