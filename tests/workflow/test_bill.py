"""The bill of a study before it runs."""

import json
import re
from pathlib import Path

import pytest

from meltpoint.study.config import load
from meltpoint.study.resolved import Study
from meltpoint.text import human_time
from meltpoint.workflow.arithmetic import Work
from meltpoint.workflow.bill import UNKNOWN, StudyBill, bill_of, longest_chain
from meltpoint.workflow.cost_model import (
    Constants,
    CostModel,
    Rule,
    constants,
    cpu_seconds,
    learn,
    measured,
)
from meltpoint.workflow.job_costs import JobCost, JobCosts
from meltpoint.workflow.model_sizes import ModelSizes
from tests.support.project import ROOT

HUB = {"hub": "owner/name", "revision": "0" * 40}
RATES = {"elements_rate": 1e9, "gpu_elements_rate": 1e12, "bytes_rate": 1e9}
MACHINE = Constants(start=2.0, rate=1e9, gpu_rate=1e12, **RATES, source="made up")


def text(study, cores=2):
    return StudyBill(study, ModelSizes(study), "results/tiny").text("tiny.yaml", cores)


def job(name, *after, operations=0.0, elements=0.0, moved=0.0, rule="rule", on_device=True):
    work, output = Work(operations, elements), Path(name)
    return JobCost(rule, "family", work, output, name, on_device, tuple(map(Path, after)), moved)


def test_the_longest_chain_is_of_jobs_that_wait_for_each_other():
    jobs = [job("d", "b", "c"), job("b", "a"), job("c", "a", "finished"), job("a"), job("e")]
    seconds = {Path(name): value for name, value in zip("abcde", (1, 2, 5, 1, 6), strict=True)}
    assert longest_chain(jobs, seconds) == 7
    assert longest_chain([], {}) == 0


def test_a_job_takes_its_start_its_work_and_what_it_moves():
    model = CostModel(MACHINE)
    assert model.seconds(job("a", operations=3e9)).cpu == pytest.approx(5)
    assert model.seconds(job("a", operations=3e9, elements=2e9, moved=4e9)).cpu == pytest.approx(11)
    assert model.seconds(job("a", operations=3e12, elements=2e12)).gpu == pytest.approx(7)
    assert model.seconds(job("a", operations=3e9, on_device=False)).gpu is None


@pytest.mark.parametrize(
    ("pairs", "rule"),
    [
        ([(1.0, 6.0)], Rule(overhead=5)),
        ([(10.0, 5.0)], Rule(factor=0.5)),
        ([(10.0, 16.0)], Rule(factor=1.6)),
        # Too little arithmetic for a factor, and none.
        ([(0.1, 0.05)], Rule()),
        ([(0.0, -0.5)], Rule()),
        # One that ended at once, and one that waited.
        ([(10.0, 15.0), (10.0, 15.0), (10.0, 0.1), (10.0, 99.0), (10.0, 15.0)], Rule(factor=1.5)),
    ],
)
def test_finished_jobs_of_one_size_give_an_overhead_or_a_factor(pairs, rule):
    learned = learn(pairs)
    assert learned.overhead == pytest.approx(rule.overhead, abs=0.02)
    assert learned.factor == pytest.approx(rule.factor)


def test_finished_jobs_of_several_sizes_give_both():
    learned = learn([(work, 3.0 + 0.5 * work) for work in (1.0, 50.0)])
    assert learned.overhead == pytest.approx(3)
    assert learned.factor == pytest.approx(0.5)
    # A negative overhead is none: the factor is then that of the large jobs.
    learned = learn([(1.0, 1.0), (50.0, 75.0)])
    assert (learned.overhead, learned.factor) == (0, pytest.approx(1.5))


def test_the_bill_counts_what_is_not_there(tmp_path):
    there = tmp_path / "there"
    there.touch()
    jobs = [job("a", operations=3.598e12), job(str(there)), job("b", "a", on_device=False)]
    bill = bill_of(jobs, CostModel(MACHINE))
    assert (bill.total.jobs, bill.finished) == (2, 1)
    assert bill.total.cpu == pytest.approx(3602)
    assert bill.total.rest == pytest.approx(2)
    assert bill.total.gpu == pytest.approx(2 + 3.598)
    assert bill.longest_cpu == pytest.approx(3602)


def test_every_job_of_the_study_is_counted_once(resolved):
    declared = resolved()
    jobs = JobCosts(declared, ModelSizes(declared), "results/tiny").all()
    assert len({job.output for job in jobs}) == len(jobs)
    rules = [job.rule.split("_")[0] for job in jobs]
    assert rules.count("compress") == len(declared.checkpoints)
    assert rules.count("evaluate") == len(declared.all_cells)
    outputs = {job.output for job in jobs}
    assert all(set(job.after) <= outputs for job in jobs)


def test_the_bill_of_a_study_of_which_nothing_is_made(resolved):
    lines = text(resolved()).splitlines()
    assert lines[0].startswith("Study tiny (tiny.yaml): 2 models, 11 checkpoints, 14 cells")
    table = {line.split("  ")[0]: re.split(r"  +", line)[-2:] for line in lines[1:]}
    assert table["unstructured"][0] == "11"
    assert table["perplexity"][0] == "9"
    assert any(re.match(r"On the CPU the longest chain .* with 2 jobs at once", x) for x in lines)
    assert any(x.startswith("A job holds at most about 7") for x in lines)
    assert any(re.match(r"Disk: .* when finished, .* 11 checkpoints", x) for x in lines)
    assert "GPU" not in "\n".join(lines)


def test_a_study_on_gpus_has_time_of_gpus(resolved):
    assert "GPU time  CPU time beside it" in text(resolved(compute={"device": "cuda"}))
    both = text(resolved(compute={"device": "auto"}))
    assert "CPU time without a GPU  GPU time with one" in both
    assert "assumed, not measured" in both


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.2, "<1 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (5399, "90 min"),
        (5800, "1.6 h"),
        (34_347_600, "9,541 h"),
    ],
)
def test_a_time_is_said_in_its_unit(seconds, words):
    assert human_time(seconds) == words


def test_the_finished_jobs_of_a_study_refine_it(resolved):
    declared = resolved()
    jobs = JobCosts(declared, ModelSizes(declared), "results/tiny").all()
    chosen = next(job for job in jobs if job.rule == "evaluate_perplexity")
    folder = Path("results/tiny/benchmarks")
    file = folder / f"{chosen.benchmark}.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("s\tcpu_time\n12\t11.0\n")
    finished = measured(jobs, folder)
    assert finished == [(chosen, 11.0)]
    assert CostModel(MACHINE, finished).seconds(chosen).cpu == pytest.approx(11, rel=0.01)
    file.write_text("s\tcpu_time\n0.3\t0.00\n")
    assert measured(jobs, folder) == []


@pytest.mark.parametrize(
    ("wall", "seen", "seconds"),
    [
        (12, 11, 11),
        (40.1, 14.99, 40.07),
        (45.7, 15.11, 46.03),
        (47.34, 43.47, 45.73),
        (46.3, 43.75, 45.01),
    ],
)
def test_seconds_after_the_last_look_at_a_job_count(tmp_path, wall, seen, seconds):
    """Snakemake looks at a job until 15 s and then every 30 s, so 25 of 40 s would be missing."""
    file = tmp_path / "job.tsv"
    file.write_text(f"s\tcpu_time\n{wall}\t{seen}\n")
    assert cpu_seconds(file) == pytest.approx(seconds, rel=1e-3)


def test_what_was_measured_here_counts_before_what_ships(resolved):
    resolved()
    shipped = json.loads((ROOT / "resources/cost.json").read_text())
    assert constants().source == shipped["source"]
    Path("results").mkdir(exist_ok=True)
    Path("results/cost.json").write_text(json.dumps({**shipped, "source": "here"}))
    assert constants().source == "here"
    Path("results/cost.json").write_text("{broken")
    assert constants().source == shipped["source"]


@pytest.mark.parametrize("name", ["mpt-structured", "mpt-unstructured"])
def test_the_published_studies_have_a_bill_without_a_network(name, monkeypatch, tmp_path):
    import yaml

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = ROOT / f"studies/{name}.yaml"
    declared = Study(load(yaml.safe_load(file.read_text()), file.name), file.parent)
    sizes = ModelSizes(declared)
    assert sizes.bytes("llama2-7b") == 2 * 6_738_415_616
    bill = StudyBill(declared, sizes, f"results/{name}").text(file.name, 8)
    hours = next(line for line in bill.splitlines() if line.startswith("all ")).split()
    assert int(hours[1]) > len(declared.all_cells)
    assert hours[3] == "h"
    assert float(hours[2].replace(",", "")) > 100
    assert "not known before" not in bill


def test_times_of_a_model_of_unknown_size_are_said_to_be_too_low(resolved):
    lines = text(resolved(models={"tiny": HUB})).splitlines()
    assert lines[1].startswith("Warning: the size of tiny is not known")
    assert lines[2] == UNKNOWN
    assert UNKNOWN not in text(resolved())


def test_training_costs_by_its_tokens(resolved):
    chains = ["lora,steps=10,batch=4,length=16", "lora,epochs=2,samples=8,length=16"]
    group = {"models": ["tiny"], "chains": chains, "evaluations": ["prose-32"]}
    declared = resolved(chains={"tuned": group})
    sizes = ModelSizes(declared)
    jobs = JobCosts(declared, sizes, "results/tiny").all()
    first, second = (job.work.operations for job in jobs if job.rule == "compress_lora")
    size = sizes.of("tiny")
    per_token = 6 * (size.decoder + size.vocabulary * size.width)
    assert first - second == pytest.approx(per_token * (10 * 4 * 16 - 2 * 8 * 16))
    assert first > per_token * 10 * 4 * 16


def test_no_more_windows_count_than_the_text_has(resolved):
    measured = {"perplexity": "prose", "window": 32}
    evaluations = {
        name: {**measured, **windows}
        for name, windows in {"all": {}, "few": {"windows": 2}, "many": {"windows": 10**6}}.items()
    }
    group = {"models": ["tiny"], "chains": ["wanda@0.5"], "evaluations": [*evaluations]}
    declared = resolved(
        evaluations=evaluations, chains={"x": group}, sweeps={}, tables={}, figures={}
    )
    costs = JobCosts(declared, ModelSizes(declared), "results/tiny")
    assert costs.tokens("tiny", "few") == 2 * 32
    assert costs.tokens("tiny", "many") == costs.tokens("tiny", "all") < 10**6
