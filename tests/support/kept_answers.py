"""Cells of tasks with the samples that are kept beside them, from which answers are right."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from meltpoint.evaluations import tasks
from meltpoint.evaluations._kept import SAMPLES, write_kept
from meltpoint.evaluations.cells import Cell
from meltpoint.evaluations.measurement import difference, score_of

Answers = Mapping[str, Sequence[bool]]


def write(
    results: Path, chain: str, right: Answers, dense: Answers | None = None, **protocol: str
) -> Path:
    """Writes a cell whose documents are answered so, task by task, and returns its path."""
    settings = tasks.Settings(tasks=tuple(right))
    estimates = tasks.estimate(kept_of(right), None, settings)
    base = tasks.estimate(kept_of(dense or right), None, settings)
    specs = {spec.name: spec for spec in tasks.scores(settings)}
    scores = {
        name: score_of(specs[name], estimate, difference(estimate, base[name]))
        for name, estimate in estimates.items()
    }
    cell = Cell(
        **{"model": "demo", "chain": chain, "evaluation": "answers", "kind": "tasks"},
        **{"main": "mean", "scores": scores, "requested": {}, "achieved": {}},
        protocol=settings.model_dump(mode="json") | protocol,
        provenance={"steps": []},
    )
    path = results / "cells/demo" / chain / "answers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    cell.write(path)
    write_kept(path.with_name(f"answers.{SAMPLES}"), kept_of(right)[SAMPLES])
    return path


def kept_of(right: Answers) -> dict[str, list[dict]]:
    """What an evaluation of tasks keeps."""
    return {
        SAMPLES: [
            {"task": task, "document": n, "loglikelihoods": [-1.0, -2.0], "acc": float(acc)}
            for task, each in right.items()
            for n, acc in enumerate(each)
        ]
    }
