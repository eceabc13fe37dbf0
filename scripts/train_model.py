"""Train the demo model."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (recipe, _):
    with phase("import"):
        from meltpoint.workflow.transformers_import import import_transformers

        import_transformers()
        from meltpoint.demo.training_settings import Recipe
        from meltpoint.model.base_models import train

    train(Recipe(**recipe["train"]), Path(snakemake.output[0]))
