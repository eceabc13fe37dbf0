"""Cells as one tidy frame: a row per score of a cell, the columns `COLUMNS`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from meltpoint import evaluations
from meltpoint.chain import parse_level
from meltpoint.data.published import PERPLEXITY
from meltpoint.data.published.frames import perplexities
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Cell, Score
from meltpoint.evaluations.contract import ScoreSpec

COLUMNS = [
    *("model", "chain", "method", "level", "settings", "kind", "evaluation", "score", "main"),
    *("label", "unit", "label_unit", "better"),
    *(
        "value",
        "stderr",
        "difference",
        "difference_stderr",
        "requested",
        "achieved",
        "removed",
        "stored",
    ),
    *("status", "reason", "source", "note"),
]
NUMBERS = (
    *("value", "stderr", "difference", "difference_stderr"),
    *("requested", "achieved", "removed", "stored"),
)
NUMBERS_AS_FLOATS = dict.fromkeys(NUMBERS, float)
DENSE = {"method": "dense", "level": "", "settings": "", "kind": ""}
# Columns of a perplexity. A published number is a perplexity unless its table says otherwise.
PERPLEXITY_COLUMNS = {
    **{"score": "perplexity", "main": True, "better": "lower"},
    **{"label": "perplexity", "label_unit": "", "unit": ""},
}
# The axis of compression whose fractions are in `requested` and `achieved`, by the kind of the last
# step; what a step of the kind asks for in other units than the axis is its `level`.
AXES = {"structured": "parameters", "low-rank": "parameters"}
DEFAULT_AXIS = "zeros"
# The model of published rows.
PUBLISHED = "published"
# Bits of a weight that is not compressed, whatever dtype a study computes in.
DENSE_BITS = 16


def read_cells(paths: Iterable[Path], steps: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The scores of the cells of JSON files, in their order; `source` is "measured".

    A cell that is not applicable has a row for each score that it would have. `main` is True of the
    score that is meant where an evaluation is named alone. `label`, and `label_unit` behind it, are
    what axes and heads of columns say. `note` is what the cell warns of. `achieved` is the fraction on
    the axis of the last step's kind, `removed` that of the dense decoder's parameters that are gone or
    zero. `stored` are the bits that are stored for each parameter of the dense decoder.

    steps: for each chain its method, level, settings and kind; the dense chain needs none.
    Raises MeltpointError, naming the file, for one that is no cell, or whose chain is unknown.
    """
    rows = [row for path in paths for row in rows_of(Path(path), {"dense": DENSE, **steps})]
    return pd.DataFrame(rows, columns=COLUMNS).astype(NUMBERS_AS_FLOATS)


def rows_of(path: Path, steps: Mapping[str, Mapping[str, str]]) -> Iterator[dict]:
    """The frame's rows of one cell."""
    cell = Cell.read(path)
    if cell.chain not in steps:
        raise MeltpointError(
            f"{path} is a cell of the chain {cell.chain}, which is not of this sweep: delete it and "
            "run again"
        )
    axis = AXES.get(steps[cell.chain]["kind"], DEFAULT_AXIS)
    shared = {
        **{name: getattr(cell, name) for name in ("model", "chain", "evaluation")},
        **{name: steps[cell.chain][name] for name in DENSE},
        "requested": cell.requested.get(axis, cell.requested.get("level")),
        "achieved": cell.achieved.get(axis),
        "removed": removed(cell),
        "stored": stored(cell),
        "source": "measured",
        "note": "; ".join(cell.provenance.get("warnings", [])),
    }
    kind = evaluations.find(cell.kind)
    for spec in kind.scores(kind.settings_of(cell.protocol)).values():
        score = cell.scores.get(spec.name)
        if score is not None or cell.status != "ok":
            yield {**shared, **columns_of(spec, cell.main), **numbers_of(cell, score)}


def removed(cell: Cell) -> float | None:
    """Fraction of the dense decoder's parameters that are gone or zero; None where it is not known."""
    if not {"parameters", "zeros"} <= cell.achieved.keys():
        return None
    return 1 - (1 - cell.achieved["parameters"]) * (1 - cell.achieved["zeros"])


def stored(cell: Cell) -> float | None:
    """Bits stored for each parameter of the dense decoder, where that has 16; None if not known.

    Zeros cost nothing but a mask of one bit a weight, where that is cheaper than to store them.
    """
    if not {"parameters", "zeros", "bits"} <= cell.achieved.keys():
        return None
    bits = min(cell.achieved["bits"], DENSE_BITS)
    return (1 - cell.achieved["parameters"]) * min(bits, (1 - cell.achieved["zeros"]) * bits + 1)


def columns_of(spec: ScoreSpec, main: str) -> dict:
    """Columns of a score: its name, label, unit and direction, and whether it is the `main` one."""
    return {
        "score": spec.name,
        "main": spec.name == main,
        **{name: getattr(spec, name) for name in ("label", "unit", "label_unit", "better")},
    }


def numbers_of(cell: Cell, score: Score | None) -> dict:
    """A score's numbers as columns, with the reason where it has none."""
    if score is None:
        return {"status": cell.status, "reason": cell.reason or ""}
    difference = score.difference
    return {
        "value": score.value,
        "stderr": score.stderr,
        "difference": None if difference is None else difference.value,
        "difference_stderr": None if difference is None else difference.stderr,
        "status": score.status,
        "reason": score.reason or "",
    }


def scores_named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of the score that a study means by a name.

    `evaluation` means its main score, `evaluation.score` that one; the longest evaluation that fits is
    taken. Published rows have the whole name as their evaluation, and come besides.
    """
    main = (frame["evaluation"] == name) & frame["main"].astype(bool)
    if (main & (frame["model"] != PUBLISHED)).any():
        return frame[main]
    fits = frame["evaluation"].astype(str) + "." + frame["score"].astype(str) == name
    lengths = frame["evaluation"].str.len().where(fits)
    return frame[main | (fits & (lengths == lengths.max()))]


def read_published(name: str, score_name: str, column: str = PERPLEXITY) -> pd.DataFrame:
    """A published table of perplexity as rows of the frame, for the model "published".

    score_name: the score that the numbers are shown with, as the study names it. column: that of the
    file whose numbers are shown. `compared` is the score's name.

    `of` is the published model, where the table holds several. What is not published (most errors,
    the achieved sparsity, the kind) is missing. The window that the numbers were measured at is often
    not known; `resources/published/README.md` says what is.
    """
    table = perplexities(name, column)
    evaluation = score_name.removesuffix(".perplexity")
    columns = {
        "evaluation": evaluation,
        "stderr": table["stderr"],
        "main": evaluation == score_name,
    }
    return tidy(table["method"], table["level"], table["value"], **columns).assign(
        of=table["model"], compared=score_name
    )


def tidy(
    method: pd.Series | str, level: pd.Series | str, value: pd.Series, **columns: object
) -> pd.DataFrame:
    """Published values as rows of the frame: per value its method, its level as it is spelled.

    columns: others of `COLUMNS`, each a Series or one value for all; the score is perplexity and
    the model "published" where they say nothing else.
    """
    frame = pd.DataFrame({"method": method, "level": level, "value": value})
    frame["chain"] = list(map(chain_of, frame["method"], frame["level"]))
    frame["requested"] = frame["achieved"] = frame["level"].map(fraction_of)
    fixed = {"model": PUBLISHED, **PERPLEXITY_COLUMNS, "status": "ok", "source": "published"}
    fixed |= dict.fromkeys(("settings", "kind", "reason", "note"), "")
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
