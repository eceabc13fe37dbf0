"""Measure a checkpoint by one of the study's evaluations."""

from pathlib import Path

from meltpoint import evaluations
from meltpoint.timing import imports
from meltpoint.workflow.job import job, source_file
from meltpoint.workflow.job_specs.documents import JobSpec
from meltpoint.workflow.out_of_memory import within_memory

kind = evaluations.find(JobSpec.read(snakemake.params.job_spec).kind)

with job(snakemake, computes=kind.computes, on_device=True) as (spec, compute):
    with imports():
        from meltpoint.evaluations.contract import Inputs
        from meltpoint.evaluations.measurement import evaluate

        open_engine = None
        if kind.opens_engine:
            from meltpoint.evaluations.engines import open_engine

    name = spec.cell["evaluation"]
    data = source_file(snakemake, "evaluations", name)
    files = {**dict(snakemake.input.items()), **({"data": data} if data else {})}
    others = kind.needs(kind.settings_class(**spec.settings)).checkpoints

    def work(settings):
        inputs = Inputs.of(files, settings, f"evaluations.{name}")
        evaluate(
            spec,
            inputs.with_checkpoints(others, snakemake.input.get("others", [])),
            [Path(file) for file in snakemake.input.get("dense", [])],
            [Path(file) for file in snakemake.output],
            open_engine,
        )

    within_memory(work, compute, streams=kind.opens_engine)
