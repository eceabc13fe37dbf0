"""Compute the part of a method on a checkpoint that does not depend on the level."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import calibration_files, job
from meltpoint.workflow.out_of_memory import within_memory

with job(snakemake, on_device=True) as (spec, compute):
    with imports():
        from meltpoint.compression.search import search

    validation = spec.settings.get("validation_calibration", {})

    def work(settings):
        search(
            Path(snakemake.input.parent),
            Path(snakemake.output[0]),
            spec,
            calibration_files(snakemake, spec.settings),
            settings,
            calibration_files(snakemake, validation, "validation"),
            next(map(Path, snakemake.input.earlier), None),
        )

    within_memory(work, compute, streams=False)
