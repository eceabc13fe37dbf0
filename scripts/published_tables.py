"""Draw up the published tables."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with imports():
        from meltpoint.published.specs import study
        from meltpoint.published.tables import save_tables

    save_tables(study("phase_transitions"), Path(snakemake.output[0]).parent)
