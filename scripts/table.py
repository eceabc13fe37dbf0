"""Draw up a table as CSV, Markdown and LaTeX."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.tables import build as tables
        from meltpoint.tables.keys import Table

    table = tables.from_cells(
        [Path(cell) for cell in snakemake.input.cells], spec.steps, Table(**spec.table)
    )
    Path(snakemake.output.csv).write_text(tables.to_csv(table))
    Path(snakemake.output.markdown).write_text(tables.to_markdown(table))
    Path(snakemake.output.latex).write_text(tables.to_latex(table))
