"""One measurement of one checkpoint: the part that all kinds of evaluation share.

The kind's file measures. This module skips a checkpoint that does not apply, compares scores with the
dense model's, and writes the cell with its protocol, its provenance and its cost.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from meltpoint import evaluations
from meltpoint.checkpoints.description import COST, Description
from meltpoint.compression.resume import resume_folder
from meltpoint.compute import peak_memory
from meltpoint.errors import MeltpointError, NotApplicable, reason_of
from meltpoint.evaluations import Evaluation, dense_files
from meltpoint.evaluations._kept import read_kept, write_kept
from meltpoint.evaluations.cells import Cell, Cost, Difference, Score
from meltpoint.evaluations.contract import (
    Estimate,
    EvaluationSettings,
    Inputs,
    Kept,
    Measurement,
    ScoreSpec,
)
from meltpoint.evaluations.windows import error_of_mean


class CellSpec(Protocol):
    """The fields of a job spec that a measurement reads."""

    cell: dict[str, str]
    kind: str
    main: str
    settings: dict[str, Any]
    compute: dict[str, Any]
    data: dict[str, str]
    code: str
    env: str

    def json(self) -> str:
        """The spec as canonical JSON."""


def evaluate(
    job_spec: CellSpec,
    inputs: Inputs,
    dense: list[Path],
    outputs: list[Path],
    open_engine: Callable | None = None,
) -> None:
    """Measures a checkpoint; writes its cell and the files that are kept beside the cell.

    job_spec: the kind, its settings, and the names of model, chain and evaluation. dense: the dense
    model's cell and the files beside it, empty for the dense model itself. outputs: the new cell and
    the files beside it, in the order of the kind's `keeps`. open_engine: opens a checkpoint, None for a
    kind without an engine. Raises MeltpointError for inputs that cannot be measured.
    """
    with resume_folder(outputs[0], job_spec.json()) as resume:
        _evaluate(job_spec, replace(inputs, resume=resume), dense, outputs, open_engine)


def _evaluate(
    job_spec: CellSpec,
    inputs: Inputs,
    dense: list[Path],
    outputs: list[Path],
    open_engine: Callable | None,
) -> None:
    start = time.perf_counter()
    kind = evaluations.find(job_spec.kind)
    settings = kind.settings_class(**job_spec.settings)
    description = Description.read(inputs.checkpoint)
    facts = facts_of(job_spec, description)
    measured = Measurement()
    try:
        if description.status != "ok":
            raise NotApplicable(description.reason)
        if dense:
            inputs = dense_files.ready(open_engine, inputs, kind, settings, dense[0])
        with contextlib.closing(LazyEngine(open_engine, inputs)) as engine:
            measured = kind.module.measure(engine if open_engine else None, inputs, settings)
            if not dense:
                dense_files.write(engine, inputs, kind, settings, outputs[0])
        scores = scores_of(kind, settings, inputs, measured, dense)
    except NotApplicable as reason:
        cell = Cell.not_applicable(str(reason), **facts)
    else:
        facts["protocol"] |= measured.protocol
        facts["provenance"]["warnings"] += measured.warnings
        cost = cost_of(start, inputs, kind, measured)
        cell = Cell(**facts, scores=scores, cost=cost)
    for path, ending in zip(outputs[1:], kind.keeps, strict=True):
        write_kept(path, measured.kept.get(ending))
    cell.write(outputs[0])


def scores_of(
    kind: Evaluation,
    settings: EvaluationSettings,
    inputs: Inputs,
    measured: Measurement,
    dense: list[Path],
) -> dict[str, Score]:
    """All scores of a measurement by name, each with its difference from the dense model's."""
    estimates = {**measured.scores, **_estimate(kind, measured.kept, inputs, settings)}
    differences = compare(kind, settings, inputs, estimates, measured.kept, dense)
    return {
        name: score_of(spec, estimates[name], differences.get(name))
        for name, spec in kind.scores(settings).items()
        if name in estimates or not spec.optional
    }


def facts_of(job_spec: CellSpec, description: Description) -> dict:
    """The fields of a cell that are known before the measurement."""
    return {
        **job_spec.cell,
        "kind": job_spec.kind,
        "main": job_spec.main,
        "requested": description.requested,
        "achieved": {} if description.achieved is None else description.achieved.model_dump(),
        "protocol": {
            **job_spec.settings,
            **job_spec.compute,
            **data_of(job_spec),
            **base_quantization_of(description),
        },
        "provenance": {
            "checkpoint": description.hash,
            "parents": description.parents,
            "steps": description.steps,
            **zeros_of(description),
            "code": job_spec.code,
            "env": job_spec.env,
            "versions": description.versions,
            "warnings": list(description.warnings),
        },
    }


def data_of(job_spec: CellSpec) -> dict[str, dict[str, str]]:
    """Hashes of the data files that were read, if there are any."""
    return {"data_files": job_spec.data} if job_spec.data else {}


def base_quantization_of(description: Description) -> dict[str, dict]:
    """The quantization grids of the base model's weights, for the protocol; empty without grids."""
    found = description.base_quantization
    return {"base_quantization": found.model_dump(mode="json")} if found else {}


def zeros_of(description: Description) -> dict[str, float]:
    """Fractions of zeros that the last step filled, and that rounding made; only those above 0."""
    zeros = {"zeros_lost": description.zeros_lost, "rounded": description.rounded}
    return {key: value for key, value in zeros.items() if value}


def score_of(spec: ScoreSpec, estimate: Estimate, difference: Difference | None) -> Score:
    """A cell's score from its declaration and its estimate."""
    declared = {"unit": spec.unit, "better": spec.better}
    if estimate.refused is not None:
        return Score(status="refused", reason=estimate.refused, **declared)
    return Score(value=estimate.value, stderr=estimate.stderr, difference=difference, **declared)


def cost_of(start: float, inputs: Inputs, kind: Evaluation, measured: Measurement) -> Cost:
    """Seconds since `start`, peak memory in bytes and device of the measurement.

    The cost of training is added if the checkpoint's last step fine-tuned.
    """
    device = measured.device or (str(inputs.compute.torch_device) if kind.computes else "cpu")
    seconds, file = round(time.perf_counter() - start, 3), inputs.checkpoint / COST
    trained = json.loads(file.read_text()) if file.exists() else {}
    return Cost(seconds=seconds, peak_memory=peak_memory(), device=device, **trained)


# --- comparison with the dense model ---------------------------------------------------------------


def compare(
    kind: Evaluation,
    settings: EvaluationSettings,
    inputs: Inputs,
    estimates: Mapping[str, Estimate],
    kept: Kept,
    dense: list[Path],
) -> dict[str, Difference]:
    """Differences of a checkpoint's scores from the dense model's, by name.

    Scores with units on both sides are paired unit by unit; the errors of others count as independent.
    A score that one side lacks or refuses has no difference. Raises MeltpointError if the dense model's
    files cannot be read or hold other units.
    """
    if not dense:
        return {name: _nothing(estimate) for name, estimate in estimates.items()}
    base = _scores_of(dense[0])
    base_kept = _kept_of_dense(kind, dense)
    if base:
        check_same_units(kept, base_kept)
        base |= _estimate(kind, base_kept, inputs, settings)
    return {
        name: difference(estimate, base[name])
        for name, estimate in estimates.items()
        if estimate.refused is None and name in base and base[name].refused is None
    }


def _kept_of_dense(kind: Evaluation, dense: list[Path]) -> Kept:
    """Contents of the files beside the dense model's cell, by their endings.

    Raises MeltpointError for a broken file.
    """
    kept = {}
    for key, path in zip(kind.keeps, dense[1:], strict=True):
        try:
            kept[key] = read_kept(path)
        except (OSError, ValueError, EOFError) as error:
            raise MeltpointError(
                f"{path} cannot be read ({reason_of(error)}): delete it and {dense[0]} and run again"
            ) from None
    return kept


def difference(estimate: Estimate, base: Estimate) -> Difference:
    """A score minus the dense model's, with its standard error.

    With units u and u' on both sides it is the error of the mean of u - u', else that of the difference
    of two independent numbers. It is None if one of the numbers has no error.
    """
    value = estimate.value - base.value
    if estimate.units is not None and base.units is not None:
        return Difference(value=value, stderr=error_of_mean(estimate.units - base.units))
    if estimate.stderr is None or base.stderr is None:
        return Difference(value=value)
    return Difference(value=value, stderr=math.hypot(estimate.stderr, base.stderr))


def check_same_units(kept: Kept, base: Kept) -> None:
    """Raises MeltpointError if a file kept for the dense model has another shape."""
    for key, units in kept.items():
        if np.shape(units) != np.shape(base[key]):
            raise MeltpointError(
                f"{key} is {list(np.shape(units))} of this model and {list(np.shape(base[key]))} of "
                "the dense one: they cannot be paired; delete the dense model's cell and run again"
            )


def _nothing(estimate: Estimate) -> Difference | None:
    """The difference of the dense model from itself: 0, and None for a refused score."""
    if estimate.refused is not None:
        return None
    return Difference(value=0.0, stderr=None if estimate.stderr is None else 0.0)


def _scores_of(cell: Path) -> dict[str, Estimate]:
    """The scores of a cell that are not refused."""
    scores = Cell.read(cell).scores.items()
    return {k: Estimate(score.value, score.stderr) for k, score in scores if score.status == "ok"}


def _estimate(kind, kept: Kept, inputs: Inputs, settings) -> dict[str, Estimate]:
    function = getattr(kind.module, "estimate", None)
    return {} if function is None else function(kept, inputs, settings)


# --- files and engines -------------------------------------------------------------------------------


class LazyEngine:
    """An engine that is opened at its first use, so that inputs are checked before weights are read."""

    def __init__(self, open_engine: Callable | None, inputs: Inputs) -> None:
        self._open, self._inputs = open_engine, inputs
        self._stack, self._engine = contextlib.ExitStack(), None

    def __getattr__(self, name: str):
        if self._engine is None:
            opened = self._open(self._inputs.checkpoint, self._inputs.compute)
            self._engine = self._stack.enter_context(opened)
        return getattr(self._engine, name)

    def close(self) -> None:
        """Closes the engine if it was opened."""
        self._stack.close()
