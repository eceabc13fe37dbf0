"""Pruning: what a method writes on its own cut, layer by layer, and the gradients behind it.

H-GSP leaves files in the folder `analysis` of its checkpoint. This evaluation keeps them beside the
cell, where they stay when the checkpoint is deleted, and computes scores from them: the parameters
that are left, the layers that lose more than half of their MLP, and how far mean gradients and
their norms differ between layers. The last two are given as the largest over the smallest, and as
their difference.

The evaluation is not applicable to a checkpoint whose last step leaves no such files, nor to the
dense one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from meltpoint.errors import NotApplicable
from meltpoint.evaluations.contract import (
    Estimate,
    EvaluationSettings,
    Inputs,
    Measurement,
    ScoreSpec,
)

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine

# File of JSON lines beside the cell: one object, with name and content, for each file of the method.
FILES = "analysis.jsonl"
keeps = (FILES,)
opens_engine = computes = False
compute = ()
example = {"pruning": "layers"}
FOLDER = "analysis"
COMPARISON, DIAGNOSIS = "pruning_comparison.json", "gradient_diagnosis.json"
LAYERS = "layer_statistics.json"

scores = (
    ScoreSpec("pruning_ratio", "fraction", "higher", "parameters removed"),
    ScoreSpec("parameters", "weights", "lower", "parameters", "weights"),
    ScoreSpec("extreme_layers", "layers", "lower", "extreme layers"),
    ScoreSpec("grad_mean_ratio", "ratio", "lower", "ratio of gradient means"),
    ScoreSpec("grad_norm_ratio", "ratio", "lower", "ratio of gradient norms"),
    ScoreSpec("grad_mean_range", "loss per weight", "lower", "range of gradient means"),
    ScoreSpec("grad_norm_range", "loss per weight", "lower", "range of gradient norms"),
)


class Settings(EvaluationSettings):
    """Parameters and gradients of each layer, as a method describes its own cut."""

    pruning: Literal["layers"] = Field(description="What is described: the model's `layers`.")


def measure(engine: Engine | None, inputs: Inputs, settings: Settings) -> Measurement:
    """Scores from the files in the checkpoint's folder `analysis`, and the files themselves.

    Raises NotApplicable for a checkpoint without such files.
    """
    folder = inputs.checkpoint / FOLDER
    if not (folder / COMPARISON).is_file():
        raise NotApplicable("the chain's last step leaves no files on its cut; hgsp does")
    files = {file.name: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    kept = [{"file": name, "content": content} for name, content in files.items()]
    values = values_of(files[COMPARISON], files[DIAGNOSIS])
    return Measurement({name: Estimate(float(v)) for name, v in values.items()}, {FILES: kept})


def values_of(comparison: dict[str, Any], diagnosis: dict[str, Any]) -> dict[str, float]:
    """Scores by name, from the contents of the files `COMPARISON` and `DIAGNOSIS`."""
    gradients, total = diagnosis["gradient_statistics"], comparison["total_params"]
    ranges = {
        f"grad_{key}_range": float(high) - float(low)
        for key in ("mean", "norm")
        for low, high in [gradients[f"{key}_range"]]
    }
    ratios = {f"grad_{key}_ratio": float(gradients[f"{key}_ratio"]) for key in ("mean", "norm")}
    return {
        "pruning_ratio": total["reduction_ratio"],
        "parameters": total["pruned"],
        "extreme_layers": diagnosis["num_extreme_layers"],
        **ratios,
        **ranges,
    }
