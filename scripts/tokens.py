"""Tokenise a joined corpus, or copy one that is tokens already."""

from pathlib import Path

from meltpoint.timing import phase
from meltpoint.workflow.job import job

with job(snakemake) as (recipe, _):
    with phase("import"):
        from meltpoint.data.tokenization import write_stream

    write_stream(
        recipe["corpus"],
        Path(snakemake.input.file[0]) if snakemake.input.file else None,
        Path(snakemake.input.model),
        Path(snakemake.output.tokens),
        Path(snakemake.output.ends),
    )
