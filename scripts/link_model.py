"""Link a local checkpoint."""

from pathlib import Path

from meltpoint.job import job

with job(snakemake) as (recipe, _):
    from meltpoint.models import link

    link(Path(recipe["path"]), Path(snakemake.output[0]), f"models.{snakemake.wildcards.model}")
