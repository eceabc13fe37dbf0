"""Draw up a table as CSV, Markdown and LaTeX."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with phase("import"):
        import pandas as pd

        from meltpoint.analysis.frame import read_cells, read_published
        from meltpoint.analysis.quantities import perplexities
        from meltpoint.analysis.samples import with_samples
        from meltpoint.analysis.strategies import published_strategies
        from meltpoint.tables import build as tables
        from meltpoint.tables.keys import Table

    frame = read_cells([Path(cell) for cell in snakemake.input.cells], spec.steps)
    section, published = Table(**spec.table), None
    if section.needs_samples:
        frame = with_samples(frame, map(Path, snakemake.input.cells))
    if section.published and section.layout == "strategies":
        published = published_strategies(section.published)
    elif section.published:
        published = read_published(section.published, perplexities(frame, section.evaluations)[0])
    if section.published and not section.compares:
        frame, published = pd.concat([frame, published]), None
    table = tables.build(frame, section, published)
    Path(snakemake.output.csv).write_text(tables.to_csv(table))
    Path(snakemake.output.markdown).write_text(tables.to_markdown(table))
    Path(snakemake.output.latex).write_text(tables.to_latex(table))
