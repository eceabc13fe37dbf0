"""Compress a checkpoint by one step of a chain."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job, source_file

with job(snakemake) as (spec, compute):
    with phase("import"):
        from meltpoint.compression.step import compress

    given = source_file(snakemake, "calibrations", spec.settings.get("calibration"))
    files = [given] if given else map(Path, snakemake.input.tokens)
    compress(
        Path(snakemake.input.parent),
        Path(snakemake.output[0]),
        spec,
        list(files),
        compute,
    )
