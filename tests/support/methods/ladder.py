"""Ladder: weights below a quantile of their linear are removed; the quantiles are searched once.

A method for tests of searches: each run of its search adds a line to `searches.log` in the working
directory.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import torch
from meltpoint.methods.contract import Block, Context, Statistics
from meltpoint.methods.settings import CalibratedSettings

kind = "unstructured"
levels = (Sparsity,)
env = "torch"
search_settings = ("power",)
RUNGS = 100


class Settings(CalibratedSettings):
    """The metric, and a setting that the search does not read."""

    power: float = Field(1.0, gt=0, description="Power of a weight's magnitude. Default: 1.")
    above: bool = Field(False, description="Whether large weights are removed. Default: false.")


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Quantiles of each linear's metric by its name, and the number of calibration tokens."""
    from meltpoint.compute import Compute
    from meltpoint.model.decoded import Parts

    with Path("searches.log").open("a") as log:
        log.write(f"{settings.power:g}\n")
    parts = Parts(source, Compute(device="cpu"))
    rungs = torch.linspace(0, 1, RUNGS + 1)
    quantiles = {}
    for name in parts.linears:
        weight = parts.reader.read([f"{name}.weight"])[f"{name}.weight"]
        quantiles[name.split(".", 2)[2]] = (
            weight.abs().pow(settings.power).flatten().quantile(rungs).tolist()
        )
    return {"quantiles": quantiles, "tokens": context.windows.numel()}


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Removes each linear's weights below, or above, the quantile of the level, in place."""
    for name, linear in block.linears.items():
        quantiles = block.search["quantiles"][f"{block.index}.{name}"]
        metric = linear.weight.abs().pow(settings.power)
        if settings.above:
            removed = metric > quantiles[round(RUNGS * (1 - level.fraction))]
        else:
            removed = metric < quantiles[round(RUNGS * level.fraction)]
        linear.weight.masked_fill_(removed, 0)
