"""Draw a figure as SVG and PNG."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        import pandas as pd

        from meltpoint import figures
        from meltpoint.analysis.frame import read_cells, read_published
        from meltpoint.analysis.samples import with_samples
        from meltpoint.data.published import PERPLEXITY

    figure = figures.parse(spec.figure)
    frame = read_cells([Path(cell) for cell in snakemake.input.cells], spec.steps)
    if figure.needs_samples:
        frame = with_samples(frame, map(Path, snakemake.input.cells))
    if name := getattr(figure, "published", None):
        column = getattr(figure, "published_column", PERPLEXITY)
        frame = pd.concat([frame, read_published(name, figure.value, column)], ignore_index=True)
    fitted = [pd.read_csv(file) for file in snakemake.input.transitions]
    drawing = figures.draw(frame, fitted[0] if fitted else None, figure)
    figures.save(drawing, [Path(snakemake.output.svg), Path(snakemake.output.png)])
