"""What must be the same in two runs of one study."""

import hashlib
import json
from pathlib import Path

# Snakemake's note of the time at which a folder was finished.
NOT_OURS = {".snakemake_timestamp"}
MEASURED = ("status", "value", "stderr", "difference", "sparsity", "protocol", "provenance")


def fingerprint(results: Path) -> dict[str, object]:
    """All that a study has made, by path: the bytes of files, the numbers of cells.

    Of a cell all but the seconds and the memory it took; logs and benchmarks are left out.
    """
    found = {}
    for part in ("tokens", "cells", "tables", "transitions"):
        for path in sorted((results / part).rglob("*")):
            if path.is_file() and path.name not in NOT_OURS:
                found[str(path.relative_to(results))] = _content(path)
    return found


def _content(path: Path) -> object:
    if path.suffix == ".json" and path.parent.name != "checkpoint":
        cell = json.loads(path.read_text())
        return {key: cell[key] for key in MEASURED}
    return hashlib.sha256(path.read_bytes()).hexdigest()
