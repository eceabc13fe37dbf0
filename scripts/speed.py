"""Measure how fast a checkpoint runs."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake) as (recipe, compute):
    with phase("import"):
        from meltpoint.evaluation.speed import measure

    measure(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.dense[0]) if snakemake.input.dense else None,
        Path(snakemake.output.cell),
        recipe,
        compute,
    )
