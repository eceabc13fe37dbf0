"""Recompute the published order study."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake, computes=False):
    with phase("import"):
        from meltpoint.published import order_results

    order_results.write(Path(snakemake.output[0]).parents[1], Path(snakemake.input[0]).parent)
