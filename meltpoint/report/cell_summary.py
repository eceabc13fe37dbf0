"""Entries of the report on a study's cells: models, protocols, cells without a value, versions."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from meltpoint.evaluations.cells import Cell, Score
from meltpoint.report.html_table import Grid, to_html
from meltpoint.report.page import fact
from meltpoint.text import human_bytes, reading

SUMMARY, CELLS = "Summary", "Cells"


def read(paths: Iterable[Path]) -> list[Cell]:
    """The cells of JSON files; raises MeltpointError, naming the file, for a broken cell."""
    return [Cell.read(Path(path)) for path in paths]


def before(cells: list[Cell], sources: Mapping[str, str]) -> list[dict]:
    """The entries before tables and figures; `sources` says where each model is from."""
    left_out = [cell for cell in cells if cell.status != "ok"]
    entries = [
        fact(SUMMARY, "models", "Models", models(cells, sources), counts(cells, len(left_out))),
        fact(SUMMARY, "evaluations", "Evaluations", evaluations(cells), "How each is measured."),
    ]
    if left_out:
        caption = "What a method cannot do with a model, and why."
        entries.append(fact(SUMMARY, "not-applicable", "Not applicable", absent(left_out), caption))
    if rows := warnings(cells):
        caption = "What to bear in mind when these numbers are read."
        body = grid(["model", "evaluation", "warning", "cells"], rows, words=3)
        entries.append(fact(SUMMARY, "warnings", "Warnings", body, caption))
    return entries


def warnings(cells: list[Cell]) -> list[list[str]]:
    """Rows (model, evaluation, warning, number of cells with it)."""
    found = Counter(
        (cell.model, cell.evaluation, warning)
        for cell in cells
        for warning in cell.provenance.get("warnings", [])
    )
    return [[*key, str(count)] for key, count in found.items()]


def after(cells: list[Cell]) -> list[dict]:
    """The entries behind tables and figures."""
    all_scores = "Every score with its standard error and its paired difference to dense."
    made = "The packages that made the checkpoints, the code and environment of the cells."
    return [
        fact(CELLS, "cells", "All scores", values(cells), all_scores),
        fact(CELLS, "provenance", "Provenance", provenance(cells), made),
    ]


def counts(cells: list[Cell], left_out: int) -> str:
    """Sentence on the number of cells and checkpoints."""
    chains = {(cell.model, cell.chain) for cell in cells}
    absent = f"{left_out or 'none'} not applicable"
    refused = sum(score.status == "refused" for cell in cells for score in cell.scores.values())
    scores = f" {refused} scores are refused." if refused else ""
    return (
        f"{len(cells)} cells of {len(chains)} checkpoints, dense ones included: "
        f"{len(cells) - left_out} measured, {absent}.{scores}"
    )


def models(cells: list[Cell], sources: Mapping[str, str]) -> str:
    """HTML table of models: source, numbers of cells, and the main scores of the dense model."""
    names = unique(cell.evaluation for cell in cells)
    rows = []
    for model, of_model in by(cells, "model"):
        dense = {cell.evaluation: cell for cell in of_model if cell.chain == "dense"}
        scores = [measured(dense[name].scores.get(dense[name].main)) if name in dense else ""
                  for name in names]  # fmt: skip
        ok = sum(cell.status == "ok" for cell in of_model)
        rows.append([model, sources.get(model, ""), str(ok), str(len(of_model) - ok), *scores])
    heads = ["model", "source", "measured", "not applicable", *(f"dense, {n}" for n in names)]
    return grid(heads, rows, words=2)


def evaluations(cells: list[Cell]) -> str:
    """HTML table of evaluations: kind, scores, and the protocol with all values in any cell."""
    rows = []
    for name, of_evaluation in by(cells, "evaluation"):
        done = [cell for cell in of_evaluation if cell.status == "ok"] or of_evaluation
        values = {key: unique(_of_protocol(cell, key) for cell in done) for key in done[0].protocol}
        protocol = ", ".join(f"{key}: {' or '.join(each)}" for key, each in values.items())
        scores = ", ".join(f"{key} ({score.unit})" for key, score in done[0].scores.items())
        rows.append([name, done[0].kind, scores, str(len(of_evaluation)), protocol])
    return grid(["evaluation", "kind", "scores", "cells", "protocol"], rows, words=3)


def _of_protocol(cell: Cell, key: str) -> str:
    return str(cell.protocol.get(key))


def absent(cells: list[Cell]) -> str:
    """HTML table of the chains that do not apply, with the reasons."""
    rows = [
        [model, chain, ", ".join(unique(cell.evaluation for cell in group)), reason or ""]
        for (model, chain, reason), group in by(cells, "model", "chain", "reason")
    ]
    return grid(["model", "chain", "evaluations", "reason"], rows, words=4)


def values(cells: list[Cell]) -> str:
    """HTML table with a row for each score, and for each cell without scores."""
    rows = [
        row
        for cell in cells
        for row in ([_row(cell, *item) for item in cell.scores.items()] or [_row(cell)])
    ]
    heads = ["model", "chain", "evaluation", "score", "status", "value", "± stderr", "difference"]
    return grid([*heads, "± stderr", "sparsity", "seconds"], rows, words=5)


def _row(cell: Cell, name: str = "", score: Score | None = None) -> list[str]:
    numbers = [""] * 4
    if score is not None:
        difference = score.difference
        numbers[:2] = [shorten(score.value), shorten(score.stderr, 3)]
        if difference is not None:
            numbers[2:] = [shorten(difference.value, 4), shorten(difference.stderr, 3)]
    status = (cell if score is None else score).status.replace("_", " ")
    cost = [shorten(cell.achieved.get("zeros")), shorten(cell.cost.seconds, 4)]
    return [cell.model, cell.chain, cell.evaluation, name, status, *numbers, *cost]


def provenance(cells: list[Cell]) -> str:
    """HTML table with a row for each distinct fact in the provenance of the cells."""
    facts = [
        *(
            (f"version of {name}", version)
            for cell in cells
            for name, version in (cell.provenance["versions"] or {}).items()
        ),
        *((f"code of {cell.evaluation}", cell.provenance["code"]) for cell in cells),
        *(("environment", cell.provenance["env"]) for cell in cells),
        *(
            (f"checkpoint of {cell.model}", cell.provenance["checkpoint"] or "")
            for cell in cells
            if cell.chain == "dense"
        ),
    ]
    rows = [[thing, value] for thing, value in unique(facts)]
    return grid(["what", "value"], rows, words=2)


def measured(score: Score | None) -> str:
    """Text of a score's value and standard error, bytes in a large unit; "" for None."""
    if score is None:
        return ""
    if score.status != "ok":
        return score.status
    if score.unit == "bytes":
        return human_bytes(score.value)
    if isinstance(score.stderr, float) and score.stderr:
        return reading(score.value, score.stderr)
    return shorten(score.value)


def shorten(value: float | None, digits: int = 5) -> str:
    """A number rounded to `digits` significant digits; "" for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def grid(heads: list[str], rows: list[list[str]], words: int) -> str:
    """HTML of a table; the first `words` columns are texts, the others numbers."""
    right = [index >= words for index in range(len(heads))]
    return to_html(Grid(heads, rows, right))


def unique(values: Iterable) -> list:
    """Each value once, in the order of first occurrence."""
    return list(dict.fromkeys(values))


def by(cells: list[Cell], *keys: str) -> list[tuple]:
    """Groups of cells with equal values of `keys`: (value or tuple of values, cells).

    Groups are in the order of their first cells.
    """

    def key(cell: Cell):
        values = tuple(getattr(cell, name) for name in keys)
        return values if len(keys) > 1 else values[0]

    order = {value: place for place, value in enumerate(unique(map(key, cells)))}
    ordered = sorted(cells, key=lambda cell: order[key(cell)])
    return [(value, list(group)) for value, group in groupby(ordered, key)]
