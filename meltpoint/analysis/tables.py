"""Tables: methods by level as CSV for machines, Markdown and LaTeX (booktabs) for readers."""

from string import ascii_lowercase

import pandas as pd

from meltpoint.analysis.levels import level_key, level_label
from meltpoint.analysis.markup import Entry, Table, to_latex, to_markdown
from meltpoint.analysis.rows import average_over, row_names

__all__ = ["Table", "build", "to_csv", "to_latex", "to_markdown"]

LABELS = ["model", "method", "settings"]
SHOWN = {"method": "row", "settings": "row_settings"}
CSV_COLUMNS = [
    *(*LABELS, "level", "evaluation", "metric", "unit", "value", "stderr", "difference"),
    *("difference_stderr", "requested", "achieved", "status", "reason", "source"),
]
HIGHER_IS_BETTER = {"accuracy", "acc", "acc_norm", "exact_match", "score", "tokens_per_second"}
SOURCES = "resources/published/README.md"
ACHIEVED = "small: the achieved sparsity of the decoder's linear layers"


def build(frame: pd.DataFrame, spec, published: pd.DataFrame | None = None) -> Table:
    """The table of `spec` (`meltpoint.config.Table`) from a tidy frame.

    Rows are methods, by settings and by model where these vary; columns are levels in their natural
    order behind the dense value. Best and second are marked per model and column, after rounding.
    Of the `published` cells those of the methods that `spec.beside` names stand under the rows that
    it names, with the difference.
    """
    cells = frame[frame["evaluation"] == spec.value].reset_index(drop=True)
    if spec.over:
        cells = average_over(cells, spec.over)
    cells = arrange(row_names(cells, spec.labels), spec.order)
    pruned = cells[cells["chain"] != "dense"]
    levels = sorted(pruned["level"].unique(), key=level_key)
    labels = [x for x in LABELS if x == "method" or len(pruned[SHOWN.get(x, x)].unique()) > 1]
    notes = Notes()
    rows = []
    for _, block in cells.groupby("model", sort=False):
        rows += block_rows(block, levels, labels, spec, notes, published)
    heads = [*(["dense"] if shows_dense(cells, spec) else []), *map(level_label, levels)]
    return Table(spec.caption, labels, heads, rows, notes.by_letter, remarks(rows, spec), cells)


def remarks(rows, spec) -> list[str]:
    """What is said of the whole table, below it."""
    small = any(printed.small for _, entries in rows for printed in entries)
    said = [ACHIEVED] if small else []
    if spec.over:
        deviation = "; ±: standard deviation (dense: its standard error)" if spec.error else ""
        said.append(f"means over {spec.over}{deviation}")
    if spec.beside:
        said.append(f"published: {spec.published} (its model, text and window: {SOURCES})")
    return [*said, *spec.footnotes]


def arrange(cells: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Cells by model as they come, dense first, methods as ordered and then as they come."""
    methods = [*order, *(m for m in cells["row"].unique() if m not in order)]
    keys = pd.DataFrame(index=cells.index)
    keys["model"] = pd.factorize(cells["model"])[0]
    keys["method"] = cells["row"].map(methods.index).where(cells["chain"] != "dense", -1)
    keys["settings"] = pd.factorize(cells["settings"])[0]
    keys["level"] = cells["level"].map(level_key)
    return cells.loc[keys.sort_values(list(keys)).index]


def shows_dense(cells: pd.DataFrame, spec) -> bool:
    return spec.show == "value" and bool((cells["chain"] == "dense").any())


class Notes:
    """Footnotes, each given a letter once."""

    def __init__(self) -> None:
        self.by_letter: dict[str, str] = {}

    def letter(self, text: str) -> str:
        for letter, known in self.by_letter.items():
            if known == text:
                return letter
        letter = name_of(len(self.by_letter))
        self.by_letter[letter] = text
        return letter


def name_of(index: int) -> str:
    """a ... z, aa, ab ..."""
    prefix = name_of(index // 26 - 1) if index >= 26 else ""
    return prefix + ascii_lowercase[index % 26]


def block_rows(
    block: pd.DataFrame, levels: list[str], labels: list[str], spec, notes: Notes, published
):
    """The rows of one model, marked, each with what is published of it."""
    dense = block[block["chain"] == "dense"]
    rows, values, below = [], [], []
    for _, cells in block[block["chain"] != "dense"].groupby(LABELS, sort=False):
        by_level = {cell["level"]: cell for cell in cells.to_dict("records")}
        entries = [entry(by_level.get(level), spec, notes) for level in levels]
        values.append([comparable(by_level.get(level), spec) for level in levels])
        first = cells.iloc[0]
        rows.append(([first[SHOWN.get(x, x)] or "default" for x in labels], entries))
        theirs = spec.beside.get(first["row"]) if published is not None else None
        below.append(beside(by_level, levels, theirs, labels, published, spec) if theirs else [])
    if spec.mark:
        mark(rows, values)
    head = [entry(dense.iloc[0].to_dict(), spec, notes)] if shows_dense(block, spec) else []
    blank = [Entry("")] * len(head)
    return [
        line
        for (names, entries), under in zip(rows, below, strict=True)
        for line in ((names, [*head, *entries]), *((n, [*blank, *e]) for n, e in under))
    ]


def beside(by_level: dict, levels: list[str], method: str, labels: list[str], published, spec):
    """Two lines under a row: what is published of that method, and ours above it."""
    values = published[published["method"] == method].set_index("level")["value"]
    theirs = [values.get(level) for level in levels]
    ours = [by_level[x]["value"] if x in by_level else None for x in levels]
    printed = [Entry("-" if v is None else f"{v:.{spec.digits}f}") for v in theirs]
    above = [
        Entry("-" if None in pair else f"{pair[0] - pair[1]:+.{spec.digits}f}")
        for pair in zip(ours, theirs, strict=True)
    ]
    place = labels.index("method")
    names = [["" for _ in labels] for _ in range(2)]
    names[0][place], names[1][place] = f"{method}, published", "difference"
    return [(names[0], printed), (names[1], above)]


def entry(cell: dict | None, spec, notes: Notes) -> Entry:
    """A cell as printed: "-" where there is none, N/A with its reason as a note.

    A frame may say more of a cell: its own `digits`, and a `note`.
    """
    if cell is None:
        return Entry("-")
    if cell["status"] != "ok":
        return Entry("N/A", notes=[notes.letter(cell["reason"] or "not applicable")])
    sign = "+" if spec.show == "difference" else ""
    error = cell["stderr" if spec.show == "value" else "difference_stderr"]
    digits = places(cell, spec)
    printed = f"{error:.{digits}f}" if spec.error and abs(error) < float("inf") else ""
    known = spec.achieved and cell["source"] == "measured" and cell["requested"] > 0
    small = f"{cell['achieved']:.3f}" if known else ""
    letters = [notes.letter(cell["note"])] if cell.get("note") else []
    return Entry(f"{cell[spec.show]:{sign}.{digits}f}", printed, notes=letters, small=small)


def places(cell: dict, spec) -> int:
    """Digits after the point."""
    return cell.get("digits", spec.digits)


def comparable(cell: dict | None, spec) -> float | None:
    """The value as printed, lower for better; None where it does not compete."""
    if cell is None or cell["status"] != "ok" or not abs(cell[spec.show]) < float("inf"):
        return None
    sign = -1 if cell["metric"] in HIGHER_IS_BETTER else 1
    return sign * round(cell[spec.show], places(cell, spec))


def mark(rows, values: list[list[float | None]]) -> None:
    """Best of two or more, second of three or more; equal values share their mark."""
    for column in range(len(values[0]) if values else 0):
        present = [row[column] for row in values if row[column] is not None]
        ranks = sorted(set(present))
        for (_, entries), row in zip(rows, values, strict=True):
            if row[column] is None or len(present) < 2:
                continue
            if row[column] == ranks[0]:
                entries[column].mark = "best"
            elif row[column] == ranks[1] and len(present) > 2 and present.count(ranks[0]) == 1:
                entries[column].mark = "second"


def to_csv(table: Table) -> str:
    """One row per cell, in the table's order, at full precision; a NaN that was measured is nan."""
    extra = [column for column in ("count",) if column in table.cells]
    cells = table.cells[[*CSV_COLUMNS, *extra]].copy()
    undefined = (cells["status"] == "ok") & cells["value"].isna()
    cells["value"] = cells["value"].astype(object).where(~undefined, "nan")
    return cells.to_csv(index=False, lineterminator="\n")
