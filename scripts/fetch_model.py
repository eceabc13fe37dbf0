"""Link a model of the hub."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake) as (recipe, _):
    with phase("import"):
        from meltpoint.models import fetch

    key = f"models.{snakemake.wildcards.model}"
    fetch(recipe["hub"], recipe["revision"], Path(snakemake.output[0]), key)
