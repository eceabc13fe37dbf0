"""Make the summary of the published parameter search again."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake, computes=False):
    with phase("import"):
        from meltpoint.published import search_results

    search_results.write(Path(snakemake.output[0]).parents[1], Path(snakemake.input[0]).parent)
