"""Cells as one tidy frame: a row per cell, the columns `COLUMNS`."""

import json
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from meltpoint.chain import parse_level
from meltpoint.data.published.frames import perplexities
from meltpoint.errors import MeltpointError

COLUMNS = [
    *("model", "chain", "method", "level", "settings", "kind", "evaluation", "metric", "unit"),
    *("value", "stderr", "difference", "difference_stderr", "requested", "achieved"),
    *("status", "reason", "source"),
]
NUMBERS = ["value", "stderr", "difference", "difference_stderr", "requested", "achieved"]
NUMBERS_AS_FLOATS = dict.fromkeys(NUMBERS, float)
DENSE = {"method": "dense", "level": "", "settings": "", "kind": ""}


def read_cells(paths: Iterable[Path], steps: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The cells of JSON files, in their order; `source` is "measured".

    steps: for each chain its method, level, settings and kind; the dense chain needs none.
    Raises MeltpointError, naming the file, for one that is no cell, or whose chain is unknown.
    """
    frame = pd.DataFrame([read_cell(Path(path), steps) for path in paths], columns=COLUMNS)
    return frame.astype(NUMBERS_AS_FLOATS)


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

    `of` is the published model, where the table holds several. What is not published (most errors,
    the achieved sparsity, the kind) is missing. The window that the numbers were measured at is often
    not known; `resources/published/README.md` says what is.
    """
    table = perplexities(name)
    columns = {"evaluation": evaluation, "stderr": table["stderr"]}
    return tidy(table["method"], table["level"], table["value"], **columns).assign(
        of=table["model"]
    )


def tidy(method, level, value, **columns) -> pd.DataFrame:
    """Published values as rows of the frame: per value its method, its level as it is spelled.

    columns: others of `COLUMNS`, each a Series or one value for all; the metric is perplexity and
    the model "published" where they say nothing else.
    """
    frame = pd.DataFrame({"method": method, "level": level, "value": value})
    frame["chain"] = list(map(chain_of, frame["method"], frame["level"]))
    frame["requested"] = frame["achieved"] = frame["level"].map(fraction_of)
    fixed = {"model": "published", "metric": "perplexity", "status": "ok", "source": "published"}
    fixed |= dict.fromkeys(("unit", "settings", "kind", "reason"), "")
    return frame.assign(**fixed | columns).reindex(columns=COLUMNS).astype(NUMBERS_AS_FLOATS)


def chain_of(method: str, level: str) -> str:
    """The chain of methods and their levels, each joined by `+`."""
    steps = zip_longest(method.split("+"), level.split("+"), fillvalue="")
    return "+".join(f"{name}@{at}" if at else name for name, at in steps)


def fraction_of(level: str) -> float:
    """The sparsity that a level stands for; NaN for any other column of a table."""
    try:
        return float(getattr(parse_level(level), "fraction", "nan"))
    except MeltpointError:
        return float("nan")
