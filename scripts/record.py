"""Write the record of the inputs of a study's tables and fits."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.verify.record import Record

    Record(**spec.record).write(Path(snakemake.output[0]))
