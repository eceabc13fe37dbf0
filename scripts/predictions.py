"""Predict a sweep's held-out levels from its other levels."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.analysis.frame import read_cells
        from meltpoint.transitions.prediction import predict_held_out

    frame = read_cells([Path(cell) for cell in snakemake.input.cells], spec.steps)
    predict_held_out(frame, spec.hold_out).to_csv(snakemake.output[0], index=False)
