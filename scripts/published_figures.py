"""Draw the published figures."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with imports():
        import pandas as pd

        from meltpoint.published.phase_transitions import figures

    files = {"dense": snakemake.input.dense, "other": snakemake.input.other}
    fits = {name: pd.read_csv(file) for name, file in files.items()}
    figures.save_all(fits, Path(snakemake.output[0]).parent)
