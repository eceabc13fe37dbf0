"""Draw the published figures."""

from pathlib import Path

from meltpoint.job import job
from meltpoint.phases import phase

with job(snakemake, computes=False):
    with phase("import"):
        import pandas as pd

        from meltpoint.published import figures

    files = {"dense": snakemake.input.dense, "other": snakemake.input.other}
    fits = {name: pd.read_csv(file) for name, file in files.items()}
    figures.save_all(fits, Path(snakemake.output[0]).parent)
