"""Recomputes scores, errors and differences of cells from the files that are kept beside them."""

from pathlib import Path

from meltpoint import evaluations
from meltpoint.analysis.samples import inputs_of, read_kept
from meltpoint.chain import DENSE
from meltpoint.evaluations.cells import Cell, Difference, Score
from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.measurement import compare
from meltpoint.verify.record import CellName
from meltpoint.verify.tally import COMPARED, RECOMPUTED, Tally


def path_of(results: Path, name: CellName) -> Path:
    """Path of a cell below a study's results."""
    model, chain, evaluation = name
    return results / "cells" / model / chain / f"{evaluation}.json"


def verify_cell(results: Path, name: CellName, tally: Tally) -> None:
    """Checks that a cell is the one that its path names, and checks all of its scores.

    Raises MeltpointError, naming the file, for a cell or an array that is missing or cannot be read.
    """
    path = path_of(results, name)
    cell = Cell.read(path)
    place = str(path.relative_to(results))
    tally.check(f"{place}: model, chain and evaluation", identity(cell), tuple(name), COMPARED)
    if cell.status != "ok":
        return
    estimates, differences = recomputed(path, cell)
    for score_name, score in cell.scores.items():
        check_score(
            tally,
            f"{place}: {score_name}",
            score,
            estimates.get(score_name),
            differences.get(score_name),
        )


def identity(cell: Cell) -> CellName:
    """Model, chain and evaluation of a cell."""
    return cell.model, cell.chain, cell.evaluation


def recomputed(path: Path, cell: Cell) -> tuple[dict[str, Estimate], dict[str, Difference]]:
    """Scores that the kept files give, and the differences of all scores from the dense model's."""
    kind = evaluations.find(cell.kind)
    settings = kind.settings_of(cell.protocol)
    inputs = inputs_of(path, cell, kind, settings)
    kept, estimates = {}, {}
    if kind.keeps and hasattr(kind.module, "estimate"):
        files = map(Path, kind.files_beside(str(path)))
        kept = {key: read_kept(file, path) for key, file in zip(kind.keeps, files, strict=True)}
        estimates = kind.module.estimate(kept, inputs, settings)
    stored = {
        name: Estimate(score.value, score.stderr, refused=score.reason)
        for name, score in cell.scores.items()
    }
    dense = []
    if cell.chain != DENSE:
        first = path.parents[1] / DENSE / path.name
        dense = [first, *map(Path, kind.files_beside(str(first)))]
    return estimates, compare(kind, settings, inputs, stored | estimates, kept, dense)


def check_score(
    tally: Tally, place: str, score: Score, estimate: Estimate | None, difference: Difference | None
) -> None:
    """Checks the value, the error and the difference of a score.

    Without an estimate the value cannot be recomputed, and only the difference is checked.
    """
    kind = COMPARED if estimate is None else RECOMPUTED
    if estimate is not None:
        tally.check(f"{place}, reason", score.reason, estimate.refused, kind)
        if score.status != "ok":
            return
        tally.check(place, score.value, estimate.value, kind)
        tally.check(f"{place}, error", score.stderr, estimate.stderr, kind)
    if score.status == "ok":
        for part in ("value", "stderr"):
            stored, computed = (
                getattr(each, part, None) for each in (score.difference, difference)
            )
            tally.check(f"{place}, {part} of the difference", stored, computed, kind)
