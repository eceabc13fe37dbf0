"""Tokenise each document of a corpus by itself."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job, source_file

with job(snakemake) as (spec, _):
    with imports():
        from meltpoint.data.tokenization import write_documents

    write_documents(
        spec.corpus,
        source_file(snakemake, "corpora", snakemake.wildcards.corpus),
        Path(snakemake.input.model),
        Path(snakemake.output.tokens),
        Path(snakemake.output.offsets),
        Path(snakemake.output.characters),
    )
