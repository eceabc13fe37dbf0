"""Compress a checkpoint by one step of a chain."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake) as (recipe, compute):
    with phase("import"):
        from meltpoint.compress import compress

    compress(
        Path(snakemake.input.parent),
        Path(snakemake.output[0]),
        recipe,
        [Path(file) for file in [*snakemake.input.tokens, *snakemake.input.windows]],
        compute,
    )
