"""Draw up the published tables."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with phase("import"):
        from meltpoint.published.phase_transitions import tables

    tables.save_all(Path(snakemake.output[0]).parent)
