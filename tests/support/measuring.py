"""Measures a folder by one kind of evaluation, without a study."""

from pathlib import Path

from meltpoint import evaluations
from meltpoint.compute import Compute
from meltpoint.evaluations.cells import Cell
from meltpoint.evaluations.contract import Inputs
from meltpoint.evaluations.engines import open_engine
from meltpoint.evaluations.measurement import evaluate
from meltpoint.workflow.job_specs.documents import EvaluateSpec, JobSpec

COMPUTE = Compute(device="cpu")


def job_spec(kind: str, name: str = "e", **settings) -> EvaluateSpec:
    """A job spec as the workflow writes it."""
    found = evaluations.find(kind)
    parsed = found.settings_class(**settings)
    return EvaluateSpec(
        cell={"model": "m", "chain": "dense", "evaluation": name},
        kind=kind,
        main=next(iter(found.scores(parsed))),
        settings=parsed.model_dump(mode="json", exclude={"main"}),
        compute={"dtype": "float32"},
        code="c",
        env="e",
    )


def measure(
    spec: EvaluateSpec,
    checkpoint: Path,
    target: Path,
    dense: Path | None = None,
    compute: Compute = COMPUTE,
    **files: Path,
) -> Cell:
    """The cell of a checkpoint, written to `target`; `dense` is that of the dense model."""
    kind = evaluations.find(spec.kind)
    inputs = Inputs(checkpoint, compute, f"evaluations.{spec.cell['evaluation']}", **files)
    opens = open_engine if kind.opens_engine else None
    base = [] if dense is None else outputs(kind, dense)
    evaluate(JobSpec.read(spec.json()), inputs, base, outputs(kind, target), opens)
    return Cell.read(target)


def outputs(kind: evaluations.Evaluation, cell: Path) -> list[Path]:
    """A cell and what is kept beside it."""
    return [cell, *map(Path, kind.files_beside(str(cell)))]
