"""The official codes' numbers for methods that change shapes, and what a checkpoint of ours has cut."""

import hashlib
import json
import math
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from meltpoint.checkpoints.description import Description
from meltpoint.compute import Compute
from meltpoint.evaluations.engines import open_engine
from meltpoint.model import base_models
from tests.support.steps import run, weights

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = SHARED / "golden/structured"
MODEL = SHARED / "data/models/stories260K"
# Embeddings and final norm, which the rows of some methods count beside the blocks.
OUTSIDE = 32832

# The step that gives a row, by the row's method and variant.
STEPS = {
    ("slicegpt w/o", "pca-round8"): "slicegpt@{ratio},official=true",
    ("slicegpt w/o", "pca-round1"): "slicegpt@{ratio},official=true,round_interval=1",
    ("slicegpt w/o", "random-round8"): "slicegpt@{ratio},official=true,final_orientation=random",
    ("SLEB", "blocks1of5"): "sleb@{ratio}",
    ("SLEB", "blocks2of5"): "sleb@{ratio}",
    ("SLEB", "blocks3of5"): "sleb@{ratio}",
    **{
        ("FLAP", f"{metric}_{structure}"): "flap@{ratio},official=true,expand_kv=true,"
        f"metric={metric},structure={structure}"
        for metric in ("WIFV", "IFV", "WIFN")
        for structure in ("AL-AM", "UL-UM")
    },
    ("wanda_sp", None): "wanda_sp@{ratio},expand_kv=true",
    ("mag_sp", None): "magnitude_sp@{ratio},expand_kv=true",
    **{
        ("LLM-Pruner w/o", f"{kind}-blockwise-{importance}-layers{layers}{guard}"): (
            f"llm_pruner@{{ratio}},official=true,importance={importance}{more}{chosen}"
        )
        for kind, more in (("gqa", ""), ("mha", ",expand_kv=true"))
        for importance in ("param_first", "param_second", "param_mix", "vectorize", "l1", "l2")
        for layers, chosen in (("all", ""), ("1-4", ",layers=1-4"))
        for guard in ("", "-guard")
    },
    ("SVD-LLM (W)", "mha-expanded"): "svd_llm@{ratio},expand_kv=true",
    **{
        ("H-GSP (own reference)", prior): f"hgsp@{{ratio}},prior={prior}"
        for prior in ("taylor", "layerwise", "blockwise")
    },
}
# Relative tolerance of a perplexity.
TOLERANCES = {"svd_llm": 1e-3, "slicegpt": 5e-3}


@cache
def rows() -> dict[str, dict[str, Any]]:
    """The golden rows by the step that gives them, dense aside."""
    found = json.loads((GOLDEN / "stories260K.json").read_text())["rows"]
    return {step_of(row): row for row in found if row["method"] != "dense"}


def step_of(row: dict[str, Any]) -> str:
    """Spelling of the step that gives a golden row."""
    return STEPS[row["method"], row.get("variant")].format(ratio=f"{row['ratio']:g}")


def rows_of(method: str) -> dict[str, dict[str, Any]]:
    """The golden rows of one of our methods, by step; none where the goldens are not there."""
    if not GOLDEN.exists():
        return {}
    return {step: row for step, row in rows().items() if step.startswith(f"{method}@")}


def checkpoint(
    step: str, target: Path, goldens: Path = GOLDEN, model: Path = MODEL, **compute: Any
) -> Path:
    """The golden model's checkpoint after a step, made without the workflow."""
    windows, base = target.with_name("calibration.npy"), target.with_name("golden-model")
    np.save(windows, np.load(goldens / "calibration.npy"))
    if not base.exists():
        base_models.link(model, base, "models.stories260K")
    return run(base, target, step, windows, **compute)


def disturbed(folder: Path, seed: int) -> Path:
    """The golden model in a new folder, with each weight times 1 + 1e-7 z.

    z is drawn from a normal distribution. Rounding to float32 moves weights about as far.
    """
    shutil.copytree(MODEL, folder)
    draws = np.random.default_rng(seed)
    stored = load_file(MODEL / "model.safetensors")
    moved = {
        name: (weight * (1 + 1e-7 * draws.standard_normal(weight.shape))).astype(np.float32)
        for name, weight in stored.items()
    }
    save_file(moved, folder / "model.safetensors", {"format": "pt"})
    return folder


def perplexity(folder: Path, goldens: Path = GOLDEN) -> float:
    """Perplexity of a checkpoint on the golden's test windows of 256 tokens."""
    with open_engine(folder, Compute(device="cpu")) as engine:
        losses = engine.nll(np.load(goldens / "test.npy").reshape(-1, 256))
    return math.exp(losses.astype(np.float64).mean())


def parameters_of(row: dict[str, Any]) -> int | None:
    """Parameters of the decoder's blocks that a row counts; None for SliceGPT's rows."""
    if row["method"] == "slicegpt w/o":
        return None
    return row["params_layers"] if "params_layers" in row else row["params"] - OUTSIDE


def hash_of(cut: Any) -> str:
    """Hash of what was cut, as the goldens define it."""
    return hashlib.sha256(
        json.dumps(cut, separators=(",", ":"), sort_keys=True).encode()
    ).hexdigest()


def kept_rows(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Indices of the rows [columns] of `before` that `after` holds, unchanged and in their order."""
    kept, place = [], 0
    for index, row in enumerate(before):
        if place < len(after) and torch.equal(row, after[place]):
            kept.append(index)
            place += 1
    assert place == len(after), "a row is not one of the dense model's"
    return kept


def cut_of(folder: Path, name: str, unit: int = 1) -> list[list[int]]:
    """Indices of the units that each block has lost, of rows of the linear `name` of the blocks."""
    before, after = weights(folder.with_name("golden-model")), weights(folder)
    found = []
    for block in range(len(Description.read(folder).shapes.blocks)):
        path = f"model.layers.{block}.{name}.weight"
        dense = before[path]
        kept = {index // unit for index in kept_rows(dense, after.get(path, dense[:0]))}
        found.append([i for i in range(len(dense) // unit) if i not in kept])
    return found
