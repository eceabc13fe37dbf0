"""Link a model of the hub."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (recipe, _):
    with phase("import"):
        from meltpoint.model.base_models import fetch

    key = f"models.{snakemake.wildcards.model}"
    fetch(recipe["hub"], recipe["revision"], Path(snakemake.output[0]), key)
