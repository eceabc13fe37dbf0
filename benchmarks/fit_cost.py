"""The constants of the bill, fitted to the finished jobs of several studies.

    python -m benchmarks.fit_cost STUDY.yaml results/STUDY [STUDY.yaml results/STUDY ...] [--ship]

Least squares of the logarithms of CPU-seconds, over the rules that all studies have, each with the
same weight. What `benchmarks.calibrate_cost` has measured pulls each constant as one rule would. The
other rules' jobs then give their overheads. Prints for each study how many of its jobs of at least 5 s
are within 25 %: by the constants and rules of all studies, and by those of the others alone. With
--ship it writes resources/cost.json.
"""

import argparse
import contextlib
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from benchmarks.bill import compare, share
from meltpoint.files import write_json
from meltpoint.study import config
from meltpoint.study.check import read_yaml
from meltpoint.study.resolved import Study
from meltpoint.workflow.cost_model import SHIPPED, Constants, CostModel, constants, measured
from meltpoint.workflow.job_costs import JobCost, JobCosts
from meltpoint.workflow.model_sizes import ModelSizes

Jobs = list[tuple[JobCost, float]]
FITTED = ("rate", "elements_rate", "bytes_rate")
# From this error of the logarithm on a job counts less: some were measured for a part of their time.
OUTLIER = 0.2


def finished(file: Path, results: Path) -> Jobs:
    """Finished jobs of a study with their CPU-seconds.

    The study is read where it ran, so that the configs of its models and its tokens are found.
    """
    file, results = file.resolve(), results.resolve()
    study = Study(config.load(read_yaml(file), file.name), file.parent)
    with contextlib.chdir(results.parents[1]):
        jobs = JobCosts(study, ModelSizes(study), str(results)).all()
        return measured(jobs, results / "benchmarks")


def fit(machine: Constants, jobs: Jobs, rules: set[str]) -> Constants:
    """The constants that minimise the errors of the logarithms of the rules' jobs."""
    used = [(job, seconds) for job, seconds in jobs if job.rule in rules]
    counts = Counter(job.rule for job, _ in used)
    weights = np.array([counts[job.rule] ** -0.5 for job, _ in used])
    seconds = np.array([seconds for _, seconds in used])
    amounts = [(job.work.operations, job.work.elements, job.moved) for job, _ in used]
    prior = np.log([getattr(machine, name) for name in FITTED])

    def errors(logs: np.ndarray) -> np.ndarray:
        bill = machine.start + np.array(amounts) @ np.exp(-logs)
        return np.concatenate([weights * np.log(bill / seconds), logs - prior])

    found = np.exp(least_squares(errors, prior, loss="soft_l1", f_scale=OUTLIER).x)
    values = {name: float(f"{x:.3g}") for name, x in zip(FITTED, found, strict=True)}
    return machine.model_copy(update={**values, "rules": {}})


def with_rules(machine: Constants, jobs: Jobs) -> Constants:
    """The constants with what the jobs say of each rule."""
    rules = sorted(CostModel(machine, jobs).rules.items())
    rounded = {
        name: rule.model_copy(
            update={key: float(f"{x:.3g}") for key, x in rule.model_dump().items()}
        )
        for name, rule in rules
    }
    return machine.model_copy(update={"rules": rounded})


def main() -> None:
    """Fits, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="STUDY.yaml RESULTS, in turn")
    parser.add_argument("--ship", action="store_true", help="write resources/cost.json")
    arguments = parser.parse_args()
    pairs = zip(arguments.paths[::2], arguments.paths[1::2], strict=True)
    studies = {results.name: finished(file, results) for file, results in pairs}
    common = set.intersection(*({job.rule for job, _ in jobs} for jobs in studies.values()))
    everything = [pair for jobs in studies.values() for pair in jobs]
    measured_here = constants()
    machine = fit(measured_here, everything, common)
    shipped = with_rules(machine, everything)
    print("fitted to all:", {name: getattr(machine, name) for name in FITTED})
    for name, jobs in studies.items():
        others = [pair for other in studies if other != name for pair in studies[other]]
        alone = fit(measured_here, others, common)
        print(f"{name}: constants alone {share(compare(machine, jobs))}, with rules", end=" ")
        print(share(compare(shipped, jobs)))
        print("  without it:", {name: getattr(alone, name) for name in FITTED}, end=": ")
        print(f"constants alone {share(compare(alone, jobs))}, with the others' rules", end=" ")
        print(share(compare(with_rules(alone, others), jobs)))
        frame = compare(shipped, jobs)
        medians = frame.groupby("rule")[["measured", "bill", "ratio"]].median()
        print(medians.assign(jobs=frame.groupby("rule").size()).round(2).to_string())
    if arguments.ship:
        write_json(SHIPPED, shipped.model_dump())


if __name__ == "__main__":
    main()
