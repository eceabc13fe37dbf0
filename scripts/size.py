"""Count what a checkpoint weighs."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with phase("import"):
        from meltpoint.evaluations.size import measure

    measure(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.dense),
        Path(snakemake.output.cell),
        spec,
    )
