"""Draw up the published tables."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake, computes=False):
    with phase("import"):
        from meltpoint.published import tables

    tables.save_all(Path(snakemake.output[0]).parent)
