"""Measure a checkpoint's perplexity."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (spec, compute):
    with phase("import"):
        from meltpoint.evaluations.perplexity import measure

    measure(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.tokens),
        Path(snakemake.input.dense[0]) if snakemake.input.dense else None,
        Path(snakemake.output.cell),
        Path(snakemake.output.nll),
        spec,
        compute,
    )
