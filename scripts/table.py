"""Draw up a table as CSV, Markdown and LaTeX."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (recipe, _):
    with phase("import"):
        import pandas as pd

        from meltpoint.analysis.frame import read_cells, read_published
        from meltpoint.analysis.quantities import perplexities
        from meltpoint.study.outputs import Table
        from meltpoint.tables import build as tables

    frame = read_cells([Path(cell) for cell in snakemake.input.cells], recipe["steps"])
    spec = Table(**recipe["spec"])
    published = None
    if spec.published:
        published = read_published(spec.published, perplexities(frame, spec.evaluations)[0])
    if spec.published and not spec.beside:
        frame, published = pd.concat([frame, published]), None
    table = tables.build(frame, spec, published)
    Path(snakemake.output.csv).write_text(tables.to_csv(table))
    Path(snakemake.output.markdown).write_text(tables.to_markdown(table))
    Path(snakemake.output.latex).write_text(tables.to_latex(table))
