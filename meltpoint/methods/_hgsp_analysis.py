"""Files about the global search's gradients and cut, with the fields of the published study."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from meltpoint.methods._hgsp_gradients import STATISTICS
from meltpoint.methods._hgsp_selection import Table
from meltpoint.methods._hgsp_units import KINDS

# Share of its MLP above which a layer's loss is reported as extreme.
EXTREME = 0.5
EPSILON = 1e-10


def layer_gradients(search: dict[str, Any]) -> list[dict[str, float]]:
    """For each block statistics of its gradients, over its parameters and the batches.

    They are the means of means, of standard deviations and of norms, and the largest and the smallest
    entry.
    """
    noted = np.asarray(search["gradients"], dtype=np.float64)
    owners = np.array([block for block, _ in search["gradient_parameters"]])
    rows = []
    for block in range(len(search["blocks"])):
        part = noted[owners == block].reshape(-1, len(STATISTICS))
        if not len(part):
            part = np.full((1, len(STATISTICS)), np.nan)
        mean, std, norm, high, low = part.T
        values = mean.mean(), std.mean(), norm.mean(), high.max(), low.min()
        rows.append({k: float(v) for k, v in zip(STATISTICS, values, strict=True)})
    return rows


def layer_statistics(search: dict[str, Any]) -> list[dict[str, Any]]:
    """Statistics of each block's gradients, and the mean importance of its units by kind.

    An importance is None where an earlier step has removed the part.
    """
    return [
        {
            "layer_idx": index,
            **{f"gradient_{key}": value for key, value in layer.items()},
            **{f"importance_{kind}": _mean_importance(search, index, kind) for kind in KINDS},
        }
        for index, layer in enumerate(layer_gradients(search))
    ]


def _mean_importance(search: dict[str, Any], block: int, kind: str) -> float | None:
    if not search["blocks"][block][kind]["units"]:
        return None
    return float(np.mean(search[f"importance.{block}.{kind}"]))


def gradient_fields(search: dict[str, Any]) -> dict[str, Any]:
    """Ranges over the blocks of mean gradients and of norms, and the ratios of the ranges' ends."""
    layers, fields = layer_gradients(search), {}
    for key in ("mean", "norm"):
        values = np.array([layer[key] for layer in layers])
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        fields |= {f"{key}_range": [low, high], f"{key}_ratio": high / (low + EPSILON)}
    return fields


def comparison(
    before: Sequence[dict[str, int]], after: Sequence[dict[str, int]], outer: int
) -> dict[str, Any]:
    """Parameters of the model and of each layer before and after the cut."""
    layers = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        sizes = [{**counts, "total": _total(counts)} for counts in (old, new)]
        entry: dict[str, Any] = {"layer_idx": index}
        for part in ("total", *KINDS):
            entry[part] = _change(*(counts[part] for counts in sizes))
        for part, keys in (
            ("attention", ("num_heads", "num_kv_heads")),
            ("mlp", ("intermediate_size",)),
        ):
            entry[part] |= {key: {"original": old[key], "pruned": new[key]} for key in keys}
        layers.append({**entry, "is_zero_layer": not new["attention"] and not new["mlp"]})
    sums = [sum(map(_total, counts)) for counts in (before, after)]
    return {
        "total_params": _change(*(outer + value for value in sums)),
        "layer_params": _change(*sums),
        "layers": layers,
    }


def _total(counts: dict[str, int]) -> int:
    return counts["attention"] + counts["mlp"] + counts["norms"]


def _change(original: int, pruned: int) -> dict[str, float]:
    reduced = original - pruned
    ratio = reduced / original if original else 0.0
    return {"original": original, "pruned": pruned, "reduced": reduced, "reduction_ratio": ratio}


def diagnosis(search: dict[str, Any], compared: dict[str, Any]) -> dict[str, Any]:
    """Layers that lose more than half of their MLP, the gradients' ranges, and remarks on both."""
    gradients, fields, extreme = layer_gradients(search), gradient_fields(search), []
    for index, layer in enumerate(compared["layers"]):
        if layer["mlp"]["reduction_ratio"] > EXTREME:
            extreme.append(
                {
                    "layer_idx": index,
                    "pruning_rate": layer["mlp"]["reduction_ratio"],
                    "importance": float(np.mean(search[f"importance.{index}.mlp"])),
                    "gradient_mean": gradients[index]["mean"],
                    "gradient_norm": gradients[index]["norm"],
                }
            )
    return {
        "extreme_pruning_layers": extreme,
        "num_extreme_layers": len(extreme),
        "gradient_statistics": fields,
        "diagnosis": _remarks(extreme, fields["mean_ratio"], len(compared["layers"])),
    }


def _remarks(extreme: list[dict[str, Any]], ratio: float, layers: int) -> list[str]:
    remarks = []
    if ratio > 1000:
        remarks.append(f"Mean gradients differ {ratio:.0f} times between layers.")
    if len(extreme) > 0.2 * layers:
        remarks.append(f"{len(extreme)} of {layers} layers lose more than half of their MLP.")
    if early := [layer["layer_idx"] for layer in extreme if layer["layer_idx"] < 5]:
        remarks.append(f"Early layers lose more than half of their MLP: {early}.")
    return remarks


def group_table(units: Table, removed: np.ndarray) -> str:
    """CSV of all units by ascending score, those that are removed first."""
    lines = ["layer_idx,group_type,group_idx,importance,cost,score,pruned"]
    for rank, row in enumerate(units.order):
        place = f"{units.block[row]},{KINDS[units.kind[row]]},{units.unit[row]}"
        numbers = f"{units.importance[row]:.9g},{units.cost[row]},{units.score[row]:.9g}"
        lines.append(f"{place},{numbers},{int(rank < len(removed))}")
    return "\n".join(lines) + "\n"


def losses(search: dict[str, Any]) -> dict[str, Any]:
    """The model's loss, and its differences without a layer or part, if they were measured."""
    return {key: value for key, value in search.items() if key.split(".")[0] in LOSSES}


LOSSES = ("loss", "difference")
