"""Make the summary of the published parameter search again."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with imports():
        from meltpoint.published.parameter_search import write

    write.write(Path(snakemake.output[0]).parents[1], Path(snakemake.input[0]).parent)
