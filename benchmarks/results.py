"""The numbers of a finished study as CSVs: how docs/results/ was made.

    python -m benchmarks.results studies/smollm2-small.yaml results docs/results

Writes {study}.csv with every score of every cell, {study}.rules.csv with the time and memory of each
job, and, for a study with a table `unstructured`, {study}.order.csv: how far the order of its methods
is that of LLaMA-2-7B in the published one. That is Spearman's rank correlation at each level, with
its 95 % interval over draws of windows, the same of all methods. Cells that are not there are left out.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from meltpoint.chain import row_name
from meltpoint.data.published.frames import perplexities
from meltpoint.evaluations.cells import Cell
from meltpoint.study import config
from meltpoint.study.check import read_yaml
from meltpoint.study.resolved import Study
from meltpoint.workflow.cost_model import cpu_seconds
from meltpoint.workflow.job_specs.frame_steps import steps_of

DRAWS = 2000
TABLE, PUBLISHED = "unstructured", "mpt_unstructured_ppl"


def scores(results: Path) -> pd.DataFrame:
    """One row a score: its error, its paired difference to dense, what the cell has reached."""
    rows = []
    for file in sorted(results.glob("cells/*/*/*.json")):
        cell = Cell.read(file)
        shared = {"model": cell.model, "chain": cell.chain, "evaluation": cell.evaluation}
        for name, score in cell.scores.items():
            change = score.difference
            rows.append({
                **shared, "score": name, "value": score.value, "stderr": score.stderr,
                "difference": change and change.value,
                "difference_stderr": change and change.stderr,
                **cell.achieved, "seconds": cell.cost.seconds,
            })  # fmt: skip
    return pd.DataFrame(rows)


def rules(results: Path) -> pd.DataFrame:
    """One row a job: its rule's folder, its result, wall and CPU seconds, the most memory in MB."""
    folder, rows = results / "benchmarks", []
    for file in sorted(folder.rglob("*.tsv")):
        first = pd.read_csv(file, sep="\t").iloc[0]
        rule, *result = file.relative_to(folder).with_suffix("").parts
        numbers = {"wall": first["s"], "cpu": cpu_seconds(file), "memory": first["max_rss"]}
        rows.append({"rule": rule, "result": "/".join(result), **numbers})
    return pd.DataFrame(rows)


def order(results: Path, study: Study) -> pd.DataFrame:
    """One row a level: Spearman's correlation of our order with the published one."""
    table = study.config.tables[TABLE]
    theirs = perplexities(PUBLISHED).set_index(["method", "level"])["value"].dropna()
    (evaluation,), (model,) = table.evaluations, study.groups[table.source].models
    losses: dict[str, list[tuple[float, np.ndarray]]] = {}
    for chain, step in steps_of(study, table.source).items():
        name = table.labels.get(row_name(step["method"], step["settings"]))
        file = results / f"cells/{model}/{chain}/{evaluation}.nll.npy"
        if (name, step["level"]) not in theirs.index or not file.exists():
            continue
        kept = np.load(file)
        # A cell that is not applicable has kept nothing.
        if kept.size:
            mean = kept.mean(axis=1, dtype=np.float64)
            losses.setdefault(step["level"], []).append((theirs[name, step["level"]], mean))
    rows = [{"level": level, **_correlation(found)} for level, found in losses.items()]
    return pd.DataFrame(rows)


def _correlation(found: list[tuple[float, np.ndarray]]) -> dict[str, float]:
    """Spearman's correlation of each method's published value and mean loss of each window."""
    expected, losses = [value for value, _ in found], np.stack([mean for _, mean in found])
    draws = np.random.default_rng(0).integers(0, losses.shape[1], (DRAWS, losses.shape[1]))
    drawn = [spearmanr(losses[:, draw].mean(axis=1), expected).statistic for draw in draws]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    rho = spearmanr(losses.mean(axis=1), expected).statistic
    return {"methods": len(expected), "rho": rho, "low": low, "high": high}


def main(file: Path, results: Path, target: Path) -> None:
    """Writes the CSVs of a study's results, which lie below `results`, into the folder `target`."""
    study = Study(config.load(read_yaml(file), file.name), file.resolve().parent)
    name = study.config.study
    folder = results / name
    target.mkdir(parents=True, exist_ok=True)
    made = {"": scores(folder), ".rules": rules(folder)}
    if TABLE in study.config.tables:
        made[".order"] = order(folder, study)
    for ending, frame in made.items():
        frame.to_csv(target / f"{name}{ending}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
