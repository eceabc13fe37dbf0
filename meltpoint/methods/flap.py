"""FLAP: heads and neurons whose outputs fluctuate little are cut, and their mean becomes a bias.

The columns of attention's and the MLP's output matrices W get a metric from their inputs x over the
calibration: WIFV ``Var(x_j) sum_i W_ij^2``, IFV ``Var(x_j)`` or WIFN ``mean_i |W_ij| sqrt(a_j)``, with
a_j the squared norm of a window's x_j, averaged over windows. A head's score is the mean over its
columns. Statistics are those of the model before the step, so they are a search for all levels.

With the structure AL-AM the metric of each layer is standardised, and all heads and neurons
compete: the lowest go until the level is reached, a fraction of the parameters of all heads and
neurons. With AL-MM heads compete with heads, and neurons with neurons. `remove_heads` heads go, and
neurons for the rest. UL-UM cuts floor(s H) heads and floor(s f) neurons of each layer by the metric
as it is. UL-MM cuts `remove_heads` / L heads of each of the L layers, and neurons for the rest. The
outputs then get the bias ``W (mu * cut)``, with the inputs' mean mu. A layer that loses all of its
heads or neurons is absent, except for this bias.

Where query heads share key and value heads, each such group is cut as one. With `official=true` the
numbers are those of the authors' code: `aliased_mean`, `square_attention`, `truncate_costs`,
`strict_threshold` and `half_mean` are then true. That code knows no groups; `expand_kv=true` gives
what it computes on a model with groups.

An, Zhao, Yu, Tang and Wang, "Fluctuation-based Adaptive Structured Pruning for Large Language Models",
AAAI 2024.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods import _flap_selection
from meltpoint.methods._flap_statistics import collect
from meltpoint.methods._units import Units, cut_units, outputs_of
from meltpoint.methods.contract import Block, Context, Statistics, Tensor
from meltpoint.methods.settings import (
    CalibratedSettings,
    ExpandableSettings,
    OfficialSettings,
    ShapeSettings,
)

if TYPE_CHECKING:
    import numpy as np

parts_of = LazyModule("meltpoint.model.block_parts")
surgery = LazyModule("meltpoint.model.surgery")

kind = "structured"
levels = (Sparsity,)
env = "torch"
search_settings = ("official", "aliased_mean")
search_format = "npz"


class Settings(OfficialSettings, ExpandableSettings, ShapeSettings, CalibratedSettings):
    """The official code's settings, and its quirks."""

    official_defaults: ClassVar[dict[str, Any]] = {
        "aliased_mean": True,
        "square_attention": True,
        "truncate_costs": True,
        "strict_threshold": True,
        "half_mean": True,
    }

    metric: Literal["WIFV", "IFV", "WIFN"] = Field("WIFV", description="Metric of a column.")
    structure: Literal["AL-AM", "AL-MM", "UL-MM", "UL-UM"] = Field(
        "AL-AM",
        description="Whether all layers (AL) or each layer by itself (UL) reach the level, heads and "
        "neurons together (AM) or each kind by itself (MM, UM).",
    )
    remove_heads: int = Field(
        8, ge=0, description="With AL-MM and UL-MM: number of heads that the model loses."
    )
    bias_compensation: bool = Field(
        True, description="Whether a bias takes the place of what the cut units gave on average."
    )
    aliased_mean: bool = Field(
        False,
        description="Whether the variance is the published recurrence around the mean of the windows "
        "up to now, to which the first window adds nothing.",
    )
    square_attention: bool = Field(
        False, description="Whether the metric of attention's columns is squared."
    )
    truncate_costs: bool = Field(
        False,
        description="With AL-AM: whether a head counts as a whole number of neurons, rounded down.",
    )
    strict_threshold: bool = Field(
        False, description="With AL-AM: whether the unit at the threshold is cut too."
    )
    half_mean: bool = Field(
        False, description="Whether the mean for the bias is rounded to half precision."
    )

    def unused_settings(self) -> set[str]:
        """Names of settings that the structure, or a step without compensation, does not read."""
        unused = set() if self.structure in ("AL-MM", "UL-MM") else {"remove_heads"}
        if self.structure != "AL-AM":
            unused |= {"truncate_costs", "strict_threshold"}
        if not self.bias_compensation:
            unused |= {"half_mean"}
        return unused


def calibrated(level: Sparsity, settings: Settings) -> bool:
    """False: only the search reads the calibration."""
    return False


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Units of each block, and statistics of its outputs' columns, an array of each."""
    return collect(source, context, settings.aliased_mean)


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Cuts the block's heads and neurons that were selected among those of all blocks, in place."""
    if "kept" not in block.memory:
        expanded = "expanded_" if settings.expand_kv else ""
        units = [Units(**facts) for facts in block.search[f"{expanded}units"]]
        block.memory["kept"] = _flap_selection.select(
            block.search, units, level, settings, block.parameters
        )
    kept, biases = block.memory["kept"][block.index], {}
    if settings.bias_compensation:
        biases = {
            kind: _bias(linear, kept[kind], block.search[f"{block.index}.{kind}.mean"], settings)
            for kind, linear in outputs_of(block.module).items()
        }
    if settings.expand_kv and "attention" in kept:
        surgery.expand_kv(block.module)
    cut_units(block.module, kept.get("attention"), kept.get("mlp"), biases)


def _bias(
    linear: "torch.nn.Module", kept: Tensor, mean: "np.ndarray", settings: Settings
) -> Tensor:
    """Bias [rows] of an output after the cut of its units, from the mean of its inputs."""
    weight, means = parts_of.weight_of(linear), torch.from_numpy(mean)
    if settings.half_mean:
        means = means.half().float()
    cut = ~kept.repeat_interleave(weight.shape[1] // len(kept))
    bias = weight.float() @ (means * cut).to(weight.device)
    last = linear[-1] if isinstance(linear, torch.nn.Sequential) else linear
    return (bias if last.bias is None else last.bias + bias).to(weight.dtype)
