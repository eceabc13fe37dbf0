"""Link a local checkpoint."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake) as (recipe, _):
    with phase("import"):
        from meltpoint.models import link

    link(Path(recipe["path"]), Path(snakemake.output[0]), f"models.{snakemake.wildcards.model}")
