"""The files beside a cell, from which its scores and differences are computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meltpoint.files import spell_numbers, whole_file
from meltpoint.lazy_import import numpy as np

# The file of samples: a JSON object for each document or text, one a line.
SAMPLES = "samples.jsonl"
JSON_LINES = ".jsonl"


def write_kept(target: Path, content: np.ndarray | Sequence[Mapping[str, Any]] | None) -> None:
    """Writes one of the files that are kept beside a cell, whole or not at all.

    The file's ending decides its format: JSON lines for .jsonl, else .npy. None writes a file without
    content, for a checkpoint that was not measured.
    """
    with whole_file(target) as partial:
        if target.suffix == JSON_LINES:
            lines = (json.dumps(spell_numbers(each), ensure_ascii=False) for each in content or ())
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            with partial.open("wb") as file:
                np.save(file, np.empty(0, np.float32) if content is None else content)


def read_kept(path: Path) -> np.ndarray | list[dict[str, Any]]:
    """The array, or the records of JSON lines, in a file that `write_kept` has written."""
    if path.suffix == JSON_LINES:
        # Not splitlines: a text may hold other characters that count as line ends there.
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]
    return np.load(path)
