"""Search a checkpoint for what a method needs at every level."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (recipe, compute):
    with phase("import"):
        from meltpoint.compression.search import search

    search(
        Path(snakemake.input.parent),
        Path(snakemake.output[0]),
        recipe,
        [Path(file) for file in [*snakemake.input.tokens, *snakemake.input.windows]],
        compute,
    )
