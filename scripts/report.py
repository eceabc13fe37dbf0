"""Write a report page."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.report.build import build

    cells = [Path(cell) for cell in snakemake.input.get("cells", [])]
    build(Path(snakemake.output[0]), spec.page, cells)
