"""Train the demo model."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.workflow.transformers_import import import_transformers

        import_transformers()
        from meltpoint.demo.training_settings import TrainingSettings
        from meltpoint.model.trained_model import train

    train(TrainingSettings(**spec.settings), Path(snakemake.output[0]))
