"""Link a local checkpoint."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (spec, _):
    with phase("import"):
        from meltpoint.model.base_models import link

    link(Path(spec.folder), Path(snakemake.output[0]), f"models.{snakemake.wildcards.model}")
