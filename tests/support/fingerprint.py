"""What must be the same in two runs of one study."""

import hashlib
from pathlib import Path

from meltpoint.evaluations.cells import Cell

# Snakemake's note of the time at which a folder was finished, and what the jobs of one run took.
NOT_OURS = {".snakemake_timestamp", "cost.csv"}


def fingerprint(results: Path) -> dict[str, object]:
    """All that a study has made, by path: the bytes of files, the numbers of cells.

    Of a cell all but its cost; logs and benchmarks are left out.
    """
    found = {}
    for part in ("tokens", "cells", "tables", "transitions"):
        for path in sorted((results / part).rglob("*")):
            if path.is_file() and path.name not in NOT_OURS:
                found[str(path.relative_to(results))] = _content(path)
    return found


def _content(path: Path) -> object:
    if path.suffix == ".json" and path.parent.name not in ("checkpoint", "search"):
        # As a text, in which NaN equals NaN.
        return repr(Cell.read(path).model_dump(exclude={"cost"}))
    return hashlib.sha256(path.read_bytes()).hexdigest()
