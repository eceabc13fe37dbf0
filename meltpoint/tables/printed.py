"""A table of published numbers, written as CSV, Markdown and LaTeX."""

from pathlib import Path

import numpy as np

from meltpoint.tables.markup import Table, to_latex, to_markdown


def save_table(table: Table, stem: Path) -> None:
    """Write {stem}.csv (the table's cells; what is missing stays empty), .md and .tex."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    table.cells.map(spell).to_csv(f"{stem}.csv", index=False, lineterminator="\n")
    Path(f"{stem}.md").write_text(to_markdown(table))
    Path(f"{stem}.tex").write_text(to_latex(table))


def spell(value):
    """Truth as the published tables spell it; the rest as it is."""
    return str(bool(value)).lower() if isinstance(value, bool | np.bool_) else value
