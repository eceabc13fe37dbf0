"""Compress a checkpoint by one step of a chain."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import calibration_files, job, training_files
from meltpoint.workflow.out_of_memory import within_memory

with job(snakemake, on_device=True) as (spec, compute):
    with imports():
        from meltpoint.compression.step import compress

    def work(settings):
        compress(
            Path(snakemake.input.parent),
            Path(snakemake.output[0]),
            spec,
            calibration_files(snakemake, spec.settings),
            settings,
            Path(snakemake.input.search[0]) if snakemake.input.search else None,
            training_files(snakemake, spec.settings),
        )

    within_memory(work, compute, streams=False)
