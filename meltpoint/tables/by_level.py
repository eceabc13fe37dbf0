"""A table of one evaluation: rows are methods, columns their levels."""

import pandas as pd

from meltpoint.analysis.levels import level_key, level_label
from meltpoint.analysis.published_match import published_values
from meltpoint.analysis.rows import LABELS
from meltpoint.tables.entries import against
from meltpoint.tables.grid import Grid, varying_labels
from meltpoint.tables.specs import TableSpec

DENSE = "dense"


def lay_out(
    cells: pd.DataFrame, spec: TableSpec, published: pd.DataFrame | None
) -> tuple[pd.DataFrame, Grid]:
    """Cells with their heads, and the grid; the best cells of each model are marked.

    Two rows follow a row that is compared with published values: these, and the difference.
    """
    compressed = cells[cells["chain"] != "dense"]
    levels = sorted(compressed["level"].unique(), key=level_key)
    dense = cells[cells["chain"] == "dense"] if spec.show == "value" else cells[:0]
    lines = []
    for _, line in compressed.groupby(LABELS, sort=False):
        lines += [line.assign(head=line["level"], line=0), dense_cell(dense, line)]
        values = {} if published is None else published_values(line, spec, published)
        if values:
            lines.append(lines_below(line, levels, values, spec))
    heads = {DENSE: DENSE} if len(dense) else {}
    heads |= {level: level_label(level) for level in levels}
    grid = Grid(varying_labels(compressed), heads, [*LABELS, "line"], ["model"])
    return pd.concat(lines) if lines else compressed.assign(head="", line=0), grid


def dense_cell(dense: pd.DataFrame, line: pd.DataFrame) -> pd.DataFrame:
    """A copy of the dense cell of a row's model, as the row's first cell; it is never marked."""
    first = line.iloc[0]
    names = {column: first[column] for column in LABELS}
    own = dense[dense["model"] == first["model"]]
    return own.assign(**names, head=DENSE, line=0, better="")


def lines_below(
    line: pd.DataFrame, levels: list[str], values: dict, spec: TableSpec
) -> pd.DataFrame:
    """Cells of the two rows below a row: published values, and the row's values minus these.

    values: published values by level.
    """
    first, digits = line.iloc[0], spec.places(spec.value)
    by_level = {cell["level"]: cell for cell in line.to_dict("records")}
    method = spec.compare_with.get(first["row"]) or spec.published_models[first["model"]]
    names = {column: first[column] for column in LABELS} | {"label_model": "", "label_settings": ""}
    cells = [{"head": DENSE, "text": "", "line": number} for number in (1, 2)]
    for level in levels:
        texts = against(by_level.get(level), values.get(level), digits)
        cells += [{"head": level, "text": t, "line": n} for n, t in enumerate(texts, 1)]
    labels = {1: f"{method}, published", 2: "difference"}
    frame = pd.DataFrame([names | cell for cell in cells])
    return frame.assign(label_method=frame["line"].map(labels))
