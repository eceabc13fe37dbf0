"""Link a local checkpoint."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job, source_file

with job(snakemake) as _:
    with imports():
        from meltpoint.model.base_models import link

    name = snakemake.wildcards.model
    link(source_file(snakemake, "models", name), Path(snakemake.output[0]), f"models.{name}")
