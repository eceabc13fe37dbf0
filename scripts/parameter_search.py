"""Analyse the runs of a study's parameter search."""

from pathlib import Path

from meltpoint.timing import imports
from meltpoint.workflow.job import job

with job(snakemake, computes=False) as (spec, _):
    with imports():
        from meltpoint.analysis.frame import read_cells
        from meltpoint.analysis.search_runs import Names
        from meltpoint.published.parameter_search.study_files import write

    cells = [Path(cell) for cell in snakemake.input.cells]
    search = spec.search
    names = Names(search["perplexity"], search["layers"], search["accuracy"])
    folder, *_ = [path for path in Path(snakemake.output[0]).parents if path.name == "search"]
    results = folder.parent / "cells"
    write(folder, read_cells(cells, spec.steps), results, spec.varied, names, spec.percent)
