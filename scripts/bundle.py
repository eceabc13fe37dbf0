"""Pack a study's results into one archive."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with imports():
        from meltpoint.verify.bundle import write_bundle

    target = Path(snakemake.output[0])
    files = map(Path, snakemake.input.results)
    write_bundle(target, target.parent, files, map(Path, snakemake.input.envs))
