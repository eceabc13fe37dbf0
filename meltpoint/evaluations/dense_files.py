"""Files beside the dense model's cell that the measurement of its chains needs; they may be deleted.

They are not outputs of a rule. A chain that is measured later writes a missing file again, without
making any other cell stale.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.evaluations import Evaluation
from meltpoint.evaluations.cells import Cell
from meltpoint.evaluations.contract import EvaluationSettings, Inputs

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine


def paths(kind: Evaluation, settings: EvaluationSettings, cell: Path) -> dict[str, Path]:
    """Paths of a kind's files beside the dense model's cell, by their endings."""
    endings = kind.needs(settings).dense_files
    return {
        ending: cell.with_name(f"{cell.name.removesuffix('json')}{ending}") for ending in endings
    }


def write(
    engine: "Engine", inputs: Inputs, kind: Evaluation, settings: EvaluationSettings, cell: Path
) -> None:
    """Writes a kind's dense files beside the dense model's cell; `engine` runs the dense model."""
    for ending, path in paths(kind, settings, cell).items():
        kind.module.write_dense(engine, inputs, settings, ending, path)


def ready(
    open_engine: Callable,
    inputs: Inputs,
    kind: Evaluation,
    settings: EvaluationSettings,
    cell: Path,
) -> Inputs:
    """A copy of a chain's inputs with the paths of the dense files; missing files are written.

    cell: the dense model's. If it does not apply, the inputs have no dense files.
    """
    files = paths(kind, settings, cell)
    if not files or Cell.read(cell).status != "ok":
        return replace(inputs, compared=True)
    for ending, path in files.items():
        if path.exists():
            continue
        with locked(path):
            # Another job may have written the file while this job waited for the lock.
            if not path.exists():
                dense = replace(inputs, checkpoint=inputs.dense_checkpoint)
                with open_engine(dense.checkpoint, dense.compute) as engine:
                    kind.module.write_dense(engine, dense, settings, ending, path)
    return replace(inputs, compared=True, dense_files=files)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Context that holds a lock beside a file, so that one job writes the file while others wait."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
