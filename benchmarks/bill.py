"""Comparison of the bill with a finished study's jobs, and a figure of quality over cost.

    python -m benchmarks.bill config.yaml results/demo [EVALUATION]

Prints the share of jobs of at least 5 CPU-seconds that the bill of `snakemake -n` puts within 25 %:
by the constants of the machine alone, and with what results/cost.json, or resources/cost.json, says of
each rule. Then the jobs that are furthest off. Draws figures/cost.svg and .png of the results: the
evaluation, by default the study's first, over the CPU-seconds that each chain took to make, from
tables/cost.csv.
"""

import sys
from pathlib import Path

import pandas as pd

from meltpoint import figures
from meltpoint.analysis.frame import read_cells, scores_named
from meltpoint.figures.style import save
from meltpoint.study import config
from meltpoint.study.check import read_yaml
from meltpoint.study.resolved import Study
from meltpoint.workflow.cost_model import Constants, CostModel, constants, measured
from meltpoint.workflow.job_costs import JobCost, JobCosts
from meltpoint.workflow.job_specs.frame_steps import steps_of
from meltpoint.workflow.model_sizes import ModelSizes

LEAST, WITHIN, SHOWN = 5.0, 0.25, 10
COST = "cpu_seconds_to_make"


def compare(machine: Constants, jobs: list[tuple[JobCost, float]]) -> pd.DataFrame:
    """One row a job of at least `LEAST` CPU-seconds: its rule, its seconds, the bill's, the ratio."""
    model = CostModel(machine)
    rows = [
        {"job": job.benchmark, "rule": job.rule, "measured": x, "bill": model.seconds(job).cpu}
        for job, x in jobs
        if x >= LEAST
    ]
    frame = pd.DataFrame(rows, columns=["job", "rule", "measured", "bill"])
    return frame.assign(ratio=frame["bill"] / frame["measured"])


def share(jobs: pd.DataFrame) -> str:
    """Text of the share of jobs whose bill is within `WITHIN` of their CPU-seconds."""
    near = (jobs["ratio"] - 1).abs() <= WITHIN
    return f"{near.sum()} of {len(jobs)} jobs ({near.mean():.0%})"


def draw(study: Study, results: Path, evaluation: str) -> None:
    """Draws a score over what the chains took to make, of all chains that are there."""
    steps = {}
    for group in study.groups:
        steps |= steps_of(study, group)
    name = study.score(evaluation)[0]
    paths = [
        results / f"cells/{m}/{chain}/{e}.json" for m, chain, e in study.all_cells if e == name
    ]
    frame = read_cells([path for path in paths if path.exists()], steps)
    ledger = pd.read_csv(results / "tables/cost.csv").set_index(["model", "chain"])[COST]
    shown = scores_named(frame, evaluation)
    chains = pd.MultiIndex.from_frame(shown[["model", "chain"]])
    words = {"label": "CPU-seconds to make", "label_unit": "", "unit": "s", "better": "lower"}
    costs = shown.assign(
        value=ledger.reindex(chains).to_numpy(),
        **{"stderr": None, "evaluation": "cost", "score": COST, "main": True, **words},
    )
    keys = {"kind": "tradeoff", "source": "x", "value": evaluation, "x": "cost", "width": 6.5}
    figure = figures.draw(
        pd.concat([frame, costs.dropna(subset="value")]), None, figures.parse(keys)
    )
    save(figure, [results / "figures/cost.svg", results / "figures/cost.png"])


def main(file: Path, results: Path, evaluation: str = "") -> None:
    """Compares, prints and draws."""
    study = Study(config.load(read_yaml(file), file.name), file.resolve().parent)
    jobs = measured(JobCosts(study, ModelSizes(study), str(results)).all(), results / "benchmarks")
    machine = constants()
    alone = compare(machine.model_copy(update={"rules": {}}), jobs)
    by_rule = compare(machine, jobs)
    print(f"within {WITHIN:.0%} of their CPU-seconds: {share(by_rule)};")
    print(f"by the machine's constants alone: {share(alone)}")
    total = by_rule[["measured", "bill"]].sum()
    print(f"together {total['measured']:,.0f} CPU-seconds, {total['bill']:,.0f} by the bill")
    furthest = by_rule.reindex((by_rule["ratio"] - 1).abs().sort_values().index[::-1])
    print(furthest.head(SHOWN).round(2).to_string(index=False))
    draw(study, results, evaluation or next(iter(study.config.evaluations)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
