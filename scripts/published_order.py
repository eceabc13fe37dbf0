"""Recompute the published order study."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with imports():
        from meltpoint.published.operation_order import write

    write.write(Path(snakemake.output[0]).parents[1], Path(snakemake.input[0]).parent)
