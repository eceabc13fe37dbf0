"""Draw a figure as SVG and PNG."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (recipe, _):
    with phase("import"):
        import pandas as pd

        from meltpoint import figures
        from meltpoint.analysis.frame import read_cells, read_published
        from meltpoint.study.outputs import Figure

    spec = Figure(**recipe["spec"])
    frame = read_cells([Path(cell) for cell in snakemake.input.cells], recipe["steps"])
    if spec.published:
        frame = pd.concat([frame, read_published(spec.published, spec.value)], ignore_index=True)
    fitted = [pd.read_csv(file) for file in snakemake.input.transitions]
    figure = figures.draw(spec.kind, frame, fitted[0] if fitted else None, spec)
    figures.save(figure, [Path(snakemake.output.svg), Path(snakemake.output.png)])
