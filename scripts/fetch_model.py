"""Link a model of the hub."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake) as (spec, _):
    with imports():
        from meltpoint.model.base_models import fetch

    key = f"models.{snakemake.wildcards.model}"
    fetch(spec.hub, spec.revision, Path(snakemake.output[0]), key)
