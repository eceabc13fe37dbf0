"""Tokenise a joined corpus, or copy one that is tokens already."""

from pathlib import Path

from meltpoint.job import job

with job(snakemake) as (recipe, _):
    from meltpoint.tokens import write_stream

    write_stream(
        recipe["corpus"],
        Path(snakemake.input.file[0]) if snakemake.input.file else None,
        Path(snakemake.input.model),
        Path(snakemake.output.tokens),
    )
