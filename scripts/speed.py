"""Measure how fast a checkpoint runs."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (spec, compute):
    with phase("import"):
        from meltpoint.evaluations.speed import measure

    measure(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.dense[0]) if snakemake.input.dense else None,
        Path(snakemake.output.cell),
        spec,
        compute,
    )
