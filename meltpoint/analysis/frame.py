"""Cells as one tidy frame: a row per cell, the columns `COLUMNS`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from meltpoint.chain import parse_level
from meltpoint.errors import MeltpointError
from meltpoint.published import FOLDER

COLUMNS = [
    *("model", "chain", "method", "level", "settings", "kind", "evaluation", "metric", "unit"),
    *("value", "stderr", "difference", "difference_stderr", "requested", "achieved"),
    *("status", "reason", "source"),
]
NUMBERS = ["value", "stderr", "difference", "difference_stderr", "requested", "achieved"]
DENSE = {"method": "dense", "level": "", "settings": "", "kind": ""}


def read_cells(paths: Iterable[Path], steps: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The cells of JSON files, in their order; `source` is "measured".

    steps: for each chain its method, level, settings and kind; the dense chain needs none.
    Raises MeltpointError, naming the file, for one that is no cell, or whose chain is unknown.
    """
    frame = pd.DataFrame([read_cell(Path(path), steps) for path in paths], columns=COLUMNS)
    return frame.astype(dict.fromkeys(NUMBERS, float))


def read_cell(path: Path, steps: Mapping[str, Mapping[str, str]]) -> dict:
    """One row of the frame."""
    try:
        cell = json.loads(path.read_text())
        return row_of(cell, {"dense": DENSE, **steps}[cell["chain"]])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MeltpointError(
            f"{path} is not a cell that can be read ({type(error).__name__}: {error}); "
            "delete it and run again."
        ) from error


def row_of(cell: Mapping, step: Mapping[str, str]) -> dict:
    """The cell's own entries, flat, and what its chain is made of."""
    same = ("model", "chain", "evaluation", "metric", "unit", "status", "reason")
    difference = cell["difference"] or {"value": None, "stderr": None}
    sparsity = cell["sparsity"] or {"requested": None, "achieved": None}
    return {
        **{name: cell[name] for name in same},
        **{name: step[name] for name in DENSE},
        "value": number(cell["value"]),
        "stderr": number(cell["stderr"]),
        "difference": number(difference["value"]),
        "difference_stderr": number(difference["stderr"]),
        "requested": number(sparsity["requested"]),
        "achieved": number(sparsity["achieved"]),
        "reason": cell["reason"] or "",
        "source": "measured",
    }


def number(value) -> float:
    """A float of a number, of "nan", "inf", "-inf", or of null (NaN)."""
    return float("nan") if value is None else float(value)


def read_published(name: str, evaluation: str) -> pd.DataFrame:
    """A published table of perplexity as rows of the frame, for the model "published".

    What is not published (errors, the achieved sparsity, the kind) is missing. The window that the
    numbers were measured at is often not known; `resources/published/README.md` says what is.
    """
    table = pd.read_csv(FOLDER / f"{name}.csv", dtype={"level": str})
    levels = [parse_level(level) for level in table["level"]]
    frame = pd.DataFrame(index=table.index, columns=COLUMNS)
    frame["method"] = table["method"]
    frame["level"] = [str(level) for level in levels]
    frame["chain"] = frame["method"] + "@" + frame["level"]
    frame["value"] = table["ppl"]
    frame["requested"] = frame["achieved"] = [level.fraction for level in levels]
    fixed = {"model": "published", "evaluation": evaluation, "metric": "perplexity"}
    fixed |= dict.fromkeys(("unit", "settings", "kind", "reason"), "")
    fixed |= {"status": "ok", "source": "published"}
    return frame.assign(**fixed).astype(dict.fromkeys(NUMBERS, float))
