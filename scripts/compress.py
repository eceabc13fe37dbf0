"""Compress a checkpoint by one step of a chain."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (recipe, compute):
    with phase("import"):
        from meltpoint.compression.step import compress

    compress(
        Path(snakemake.input.parent),
        Path(snakemake.output[0]),
        recipe,
        [Path(file) for file in [*snakemake.input.tokens, *snakemake.input.windows]],
        compute,
        Path(snakemake.input.search[0]) if snakemake.input.search else None,
    )
