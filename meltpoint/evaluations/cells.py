"""Cells: one number with its uncertainty, its protocol and its origin, as a JSON file."""

import resource
import sys
import time
from pathlib import Path

from meltpoint.checkpoints.description import Description
from meltpoint.files import write_json


def skipped(checkpoint: Path, cell: Path, recipe: dict) -> bool:
    """Writes the cell of a checkpoint that does not apply, and says whether it is one."""
    description = Description.read(checkpoint)
    if description.status == "ok":
        return False
    write_not_applicable(cell, checkpoint, recipe, description.reason)
    return True


def write_not_applicable(cell: Path, checkpoint: Path, recipe: dict, reason: str) -> None:
    """Writes the cell of what cannot be measured, or was not made."""
    description = Description.read(checkpoint)
    write_json(
        cell,
        {
            **recipe["cell"],
            "status": "not_applicable",
            "reason": reason,
            **dict.fromkeys(("metric", "unit", "value", "stderr", "difference")),
            "sparsity": sparsity(description),
            "protocol": recipe["protocol"],
            "provenance": provenance(description, recipe),
            "seconds": 0.0,
            "peak_memory": 0,
        },
    )


def write_cell(cell: Path, checkpoint: Path, recipe: dict, start: float, **result: object) -> None:
    """Writes a measured cell: the result with what it is of, how, and from what."""
    description = Description.read(checkpoint)
    write_json(
        cell,
        {
            **recipe["cell"],
            "status": "ok",
            "reason": None,
            **result,
            "sparsity": sparsity(description),
            "protocol": recipe["protocol"],
            "provenance": provenance(description, recipe),
            "seconds": round(time.perf_counter() - start, 3),
            "peak_memory": peak_memory(),
        },
    )


def sparsity(description: Description) -> dict:
    """The zeros that were asked for and reached, those lost, and the fraction that came of rounding."""
    reached = description.achieved
    others = {"zeros_lost": description.zeros_lost, "rounded": description.rounded}
    return {
        "requested": description.requested.get("zeros"),
        "achieved": None if reached is None else reached.zeros,
        **{key: value for key, value in others.items() if value},
    }


def provenance(description: Description, recipe: dict) -> dict:
    """Where a number comes from: checkpoint, settings of each step, code, versions."""
    return {
        "checkpoint": description.hash,
        "parents": description.parents,
        "steps": description.steps,
        "code": recipe["code"],
        "env": recipe["env"],
        "versions": description.versions,
    }


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes: the accelerator's if it used one."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
