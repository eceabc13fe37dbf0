"""Fit the transition points of a sweep's curves."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.analysis.frame import read_cells
        from meltpoint.analysis.samples import with_samples
        from meltpoint.transitions.fit import fit_curves

    frame = read_cells([Path(cell) for cell in snakemake.input.cells], spec.steps)
    frame = with_samples(frame, map(Path, snakemake.input.cells))
    fit_curves(frame, scores=spec.scores).to_csv(snakemake.output[0], index=False)
