"""Count what a checkpoint weighs."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake, computes=False) as (recipe, _):
    with phase("import"):
        from meltpoint.evaluation.size import measure

    measure(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.dense),
        Path(snakemake.output.cell),
        recipe,
    )
