"""Recomputes tables, fits and predictions from the cells and the files kept beside them."""

from pathlib import Path

import pandas as pd

from meltpoint.analysis.frame import read_cells
from meltpoint.analysis.samples import with_samples
from meltpoint.errors import MeltpointError
from meltpoint.tables import build as tables
from meltpoint.tables.keys import Table
from meltpoint.transitions.fit import fit_curves
from meltpoint.transitions.prediction import predict_held_out
from meltpoint.verify.cells import path_of
from meltpoint.verify.record import Shown
from meltpoint.verify.tally import COMPARED, RECOMPUTED, Tally


def verify_table(results: Path, name: str, shown: Shown, tally: Tally) -> None:
    """Checks the numbers of a table's CSV file, and its Markdown and LaTeX.

    A table of comparisons is recomputed from the kept files; a table of values must repeat the cells.
    """
    section = Table(**shown.keys)
    kind = RECOMPUTED if section.compares_chains or section.layout == "tasks" else COMPARED
    paths = [path_of(results, cell) for cell in shown.cells]
    table = tables.from_cells(paths, shown.steps, section)
    place = f"tables/{name}"
    tally.check_csv(f"{place}.csv", text_of(results, f"{place}.csv"), tables.to_csv(table), kind)
    for ending, write in (("md", tables.to_markdown), ("tex", tables.to_latex)):
        lines = [
            text.splitlines() for text in (text_of(results, f"{place}.{ending}"), write(table))
        ]
        stored, computed = next(
            (pair for pair in zip(*lines, strict=False) if pair[0] != pair[1]), map(len, lines)
        )
        tally.check(f"{place}.{ending}", stored, computed, COMPARED)


def verify_transitions(results: Path, sweep: str, shown: Shown, tally: Tally) -> None:
    """Checks the fitted curves of a sweep."""
    frame = frame_of(results, shown, samples=True)
    fits = fit_curves(frame, scores=shown.keys.get("scores", ()))
    check_frame(results, f"transitions/{sweep}.csv", fits, tally)


def verify_predictions(results: Path, sweep: str, shown: Shown, tally: Tally) -> None:
    """Checks a sweep's predictions of the levels that its curves were fitted without."""
    predicted = predict_held_out(frame_of(results, shown), shown.keys["hold_out"])
    check_frame(results, f"transitions/{sweep}.predictions.csv", predicted, tally)


def frame_of(results: Path, shown: Shown, samples: bool = False) -> pd.DataFrame:
    """The tidy frame of the cells that a table or sweep reads; with `samples` also their units."""
    paths = [path_of(results, cell) for cell in shown.cells]
    frame = read_cells(paths, shown.steps)
    return with_samples(frame, paths) if samples else frame


def check_frame(results: Path, place: str, computed: pd.DataFrame, tally: Tally) -> None:
    """Checks a CSV file against the recomputed frame."""
    tally.check_csv(place, text_of(results, place), computed.to_csv(index=False), RECOMPUTED)


def text_of(results: Path, place: str) -> str:
    """Text of a file below a study's results; raises MeltpointError, naming it, without one."""
    try:
        return (results / place).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise MeltpointError(
            f"{results / place} is missing or cannot be read: run the study again"
        ) from None
