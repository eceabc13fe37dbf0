"""Fit the transition points of the published curves."""

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False):
    with imports():
        from meltpoint.published.phase_transitions import transitions

    dense = transitions.dense_curves()
    dense.to_csv(snakemake.output.dense, index=False)
    transitions.sparse_curves(dense).to_csv(snakemake.output.sparse, index=False)
    transitions.other_curves().to_csv(snakemake.output.other, index=False)
