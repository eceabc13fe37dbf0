"""Train the demo model."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake, computes=False) as (recipe, _):
    with phase("import"):
        from meltpoint.lean import import_transformers

        import_transformers()
        from meltpoint.demo.recipe import Recipe
        from meltpoint.models import train

    train(Recipe(**recipe["train"]), Path(snakemake.output[0]))
