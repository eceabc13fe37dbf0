"""Decode the model of a local GGUF file."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job, source_file

with job(snakemake) as (_, compute):
    with imports():
        from meltpoint.llamacpp.decode import decode

    name = snakemake.wildcards.model
    file, target = source_file(snakemake, "models", name), Path(snakemake.output[0])
    decode(file, target, compute.torch_dtype, f"models.{name}")
