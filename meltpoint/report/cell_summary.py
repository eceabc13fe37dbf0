"""What the cells of a study say of it: models, protocols, what did not apply, versions."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from meltpoint.errors import MeltpointError
from meltpoint.report.html_table import Grid, to_html
from meltpoint.report.page import fact
from meltpoint.text import human_bytes, reading

SUMMARY, CELLS = "Summary", "Cells"


def read(paths: Iterable[Path]) -> list[dict]:
    """The cells of JSON files; raises MeltpointError, naming the file, for one that is none."""
    cells = []
    for path in paths:
        try:
            cell = json.loads(Path(path).read_text(encoding="utf-8"))
            cells.append({**cell, "versions": cell["provenance"]["versions"] or {}})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise MeltpointError(
                f"{path} is not a cell that can be read ({type(error).__name__}: {error}); "
                "delete it and run again"
            ) from error
    return cells


def before(cells: list[dict], sources: Mapping[str, str]) -> list[dict]:
    """The entries that stand before tables and figures."""
    left_out = [cell for cell in cells if cell["status"] != "ok"]
    entries = [
        fact(SUMMARY, "models", "Models", models(cells, sources), counts(cells, len(left_out))),
        fact(SUMMARY, "evaluations", "Evaluations", evaluations(cells), "How each is measured."),
    ]
    if left_out:
        caption = "What a method cannot do with a model, and why."
        entries.append(fact(SUMMARY, "not-applicable", "Not applicable", absent(left_out), caption))
    return entries


def after(cells: list[dict]) -> list[dict]:
    """The entries that stand behind them."""
    all_cells = (
        "Every number, with its standard error and its difference to dense, compared window "
    )
    all_cells += "by window."
    made = "The packages that made the checkpoints, the code and environment of the cells."
    return [
        fact(CELLS, "cells", "All cells", values(cells), all_cells),
        fact(CELLS, "provenance", "Provenance", provenance(cells), made),
    ]


def counts(cells: list[dict], left_out: int) -> str:
    chains = {(cell["model"], cell["chain"]) for cell in cells}
    absent = f"{left_out or 'none'} not applicable"
    return (
        f"{len(cells)} cells of {len(chains)} checkpoints, dense ones included: "
        f"{len(cells) - left_out} measured, {absent}."
    )


def models(cells: list[dict], sources: Mapping[str, str]) -> str:
    """A row for each model: where it is from, its cells, its dense values."""
    names = unique(cell["evaluation"] for cell in cells)
    rows = []
    for model, own in by(cells, "model"):
        dense = {cell["evaluation"]: measured(cell) for cell in own if cell["chain"] == "dense"}
        ok = sum(cell["status"] == "ok" for cell in own)
        counted = [str(ok), str(len(own) - ok)]
        rows.append([model, sources.get(model, ""), *counted, *(dense.get(n, "") for n in names)])
    heads = ["model", "source", "measured", "not applicable", *(f"dense, {n}" for n in names)]
    return grid(heads, rows, words=2)


def evaluations(cells: list[dict]) -> str:
    """A row for each evaluation: its metric, and its protocol with all that it says in any cell."""
    rows = []
    for name, own in by(cells, "evaluation"):
        done = [cell for cell in own if cell["metric"]] or own
        said = {key: unique(_said(cell, key) for cell in done) for key in done[0]["protocol"]}
        protocol = ", ".join(f"{key}: {' or '.join(found)}" for key, found in said.items())
        first = done[0]
        rows.append([name, first["metric"] or "", first["unit"] or "", str(len(own)), protocol])
    return grid(["evaluation", "metric", "unit", "cells", "protocol"], rows, words=3)


def _said(cell: dict, key: str) -> str:
    return str(cell["protocol"].get(key))


def absent(cells: list[dict]) -> str:
    """A row for each chain that does not apply, with its reason."""
    rows = [
        [model, chain, ", ".join(unique(c["evaluation"] for c in own)), reason or ""]
        for (model, chain, reason), own in by(cells, "model", "chain", "reason")
    ]
    return grid(["model", "chain", "evaluations", "reason"], rows, words=4)


def values(cells: list[dict]) -> str:
    """A row for each cell."""
    rows = []
    for cell in cells:
        difference, sparsity = cell["difference"] or {}, cell["sparsity"] or {}
        numbers = [shorten(cell["value"]), shorten(cell["stderr"], 3)]
        numbers += [shorten(difference.get("value"), 4), shorten(difference.get("stderr"), 3)]
        numbers += [shorten(sparsity.get("achieved")), shorten(cell["seconds"], 4)]
        status = cell["status"].replace("_", " ")
        names = [cell["model"], cell["chain"], cell["evaluation"], cell["metric"] or "", status]
        rows.append([*names, *numbers])
    heads = ["model", "chain", "evaluation", "metric", "status", "value", "± stderr", "difference"]
    return grid([*heads, "± stderr", "sparsity", "seconds"], rows, words=5)


def provenance(cells: list[dict]) -> str:
    """A row for each thing that cells record, and for each value that it has."""
    found = [
        *((f"version of {name}", v) for cell in cells for name, v in cell["versions"].items()),
        *((f"code of {cell['evaluation']}", cell["provenance"]["code"]) for cell in cells),
        *(("environment", cell["provenance"]["env"]) for cell in cells),
        *(
            (f"checkpoint of {cell['model']}", cell["provenance"]["checkpoint"] or "")
            for cell in cells
            if cell["chain"] == "dense"
        ),
    ]
    rows = [[what, value] for what, value in unique(found)]
    return grid(["what", "value"], rows, words=2)


def measured(cell: dict) -> str:
    """A cell's value and standard error; bytes as people count them."""
    value, error = cell["value"], cell["stderr"]
    if cell["unit"] == "bytes" and isinstance(value, int | float):
        return human_bytes(value)
    return reading(value, error) if isinstance(error, float) and error else shorten(value)


def shorten(value: float | str | None, digits: int = 5) -> str:
    """A number to so many digits; "nan" and "inf" as they are; nothing for none."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def grid(heads: list[str], rows: list[list[str]], words: int) -> str:
    """A table whose first columns are words and whose others are numbers."""
    right = [index >= words for index in range(len(heads))]
    return to_html(Grid(heads, rows, right))


def unique(values: Iterable) -> list:
    """Each value once, in the order of the first."""
    return list(dict.fromkeys(values))


def by(cells: list[dict], *keys: str) -> list[tuple]:
    """Groups of cells with equal keys, in the order of the first of each."""

    def key(cell: dict):
        found = tuple(cell[name] for name in keys)
        return found if len(keys) > 1 else found[0]

    order = {value: place for place, value in enumerate(unique(map(key, cells)))}
    ordered = sorted(cells, key=lambda cell: order[key(cell)])
    return [(value, list(own)) for value, own in groupby(ordered, key)]
