"""Search a checkpoint for what a method needs at every level."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import calibration_files, job

with job(snakemake, on_device=True) as (spec, compute):
    with phase("import"):
        from meltpoint.compression.search import search

    search(
        Path(snakemake.input.parent),
        Path(snakemake.output[0]),
        spec,
        calibration_files(snakemake, spec.settings),
        compute,
        calibration_files(snakemake, spec.settings.get("validation_calibration", {}), "validation"),
        next(map(Path, snakemake.input.earlier), None),
    )
