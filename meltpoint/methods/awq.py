"""AWQ: input channels that see large activations get larger weights before rounding, so lose less.

Linears that see the same input x are fed by a layer before them: a norm, or a linear whose output
reaches them channel by channel (v_proj before o_proj, up_proj before down_proj). Column j of their
weights is multiplied by s_j and the layer before divided by it, so that the model computes the same;
then the weights are rounded to nearest in groups of `group_size` columns. For each such set of linears

    ``s = (mean |x|)^r / (mean |w|)^(1-r)``,  ``s / sqrt(max s  min s)``

with r the one of `n_grid` ratios in [0, 1] that brings the output of the module around them nearest
to its unrounded output, in mean square over the calibration. Not scaling at all is among the
candidates. The mean of |w| runs over the rows of all these linears, each weight as a share of the
largest of its group. Without `duo_scaling` this mean is left out, as in the paper; with `both` half
of the ratios are tried in each way.

llm-compressor, the successor of AutoAWQ, does the work with its defaults; the asymmetric grid is that
of the official code. Unlike that code it does not clip weights afterwards. Besides the decoder's
linears only the layers before them change: norms, and biases of linears whose outputs are scaled. A
scale is stored in the study's dtype, a zero point as an integer of as many bits as a weight, so zeros
stay zero. The checkpoint is `pack-quantized`; transformers loads 2, 3, 4 and 8 bits, vLLM's kernels
take 4 and 8.

The library knows which layer feeds which, with two exceptions. It does not know OPT, and in BLOOM it
would scale a GELU, which has no weights: there only the linears that read the norms are scaled. v_proj
is not scaled where o_proj sees more channels than it has (grouped-query attention).

Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan and Han, "AWQ: Activation-aware Weight Quantization
for On-Device LLM Compression and Acceleration", MLSys 2024.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from meltpoint.chain import Bits
from meltpoint.errors import NotApplicable
from meltpoint.methods import _llmcompressor as llmcompressor
from meltpoint.methods.contract import Context, Resources
from meltpoint.methods.settings import CalibratedSettings

kind = "quantization"
levels = (Bits,)
bits = (2, 3, 4, 8)
env = "quantization"
libraries = ("llmcompressor", "compressed-tensors")
resources = Resources(memory=3.0)
rescales_norms = True
needs_regular_shapes = True
representative_level = "4bit"


# A linear is scaled too if only a ReLU is between its output and the linears that read it.
READERS = {
    "OPTForCausalLM": {
        **llmcompressor.READ_FROM_NORMS["OPTForCausalLM"],
        "v_proj": ("out_proj",),
        "fc1": ("fc2",),
    },
    "BloomForCausalLM": llmcompressor.READ_FROM_NORMS["BloomForCausalLM"],
}


class Settings(CalibratedSettings):
    """The grids, and the search for the scales."""

    group_size: Annotated[int, Field(ge=-1), AfterValidator(lambda size: size or -1)] = Field(
        128, description="Number of columns of a row that share a scale. -1 (or 0): the whole row."
    )
    symmetric: bool = Field(
        False, description="Whether the grid's middle is zero, without zero points."
    )
    duo_scaling: bool | Literal["both"] = Field(
        True,
        description="Whether the weights' magnitudes count for scales too. `both` tries either way.",
    )
    n_grid: int = Field(
        20, ge=4, description="Number of scales that are tried for each set of linears."
    )


def compress(source: Path, target: Path, level: Bits, settings: Settings, context: Context) -> None:
    """Writes the quantised checkpoint; raises NotApplicable for a model that AWQ cannot quantise."""
    model = llmcompressor.load(source, context)
    check_widths(llmcompressor.linears(model), settings.group_size)
    llmcompressor.start()
    from llmcompressor.modifiers.transform import awq

    registry = {**awq.AWQ_MAPPING_REGISTRY, **awq.AWQ_DYNAMIC_MAPPING_REGISTRY}
    ours = mappings(type(model).__name__)
    if ours is None:
        llmcompressor.check_known(model, registry, "AWQ")
    smoother = awq.AWQModifier(
        duo_scaling=settings.duo_scaling, n_grid=settings.n_grid, mappings=ours
    )
    scheme = {"weights": grid(level.bits, settings)}
    llmcompressor.smooth_and_round(model, smoother, scheme, target, context)


def grid(bits: int, settings: Settings) -> dict:
    """The weights' grid in the form of the library."""
    whole = settings.group_size == -1
    rows = {"strategy": "channel"}
    groups = {"strategy": "group", "group_size": settings.group_size}
    grid = {"num_bits": bits, "type": "int", "symmetric": settings.symmetric}
    return grid | (rows if whole else groups)


def check_widths(linears: dict, group_size: int) -> None:
    """Raises NotApplicable for a linear whose columns the groups do not fill."""
    for name, linear in linears.items():
        if group_size != -1 and linear.in_features % group_size:
            raise NotApplicable(
                f"AWQ in groups of {group_size} needs widths that are multiples of {group_size}; "
                f"{name} has {linear.in_features} columns (set group_size)"
            )


def mappings(architecture: str) -> list | None:
    """Mappings from layers to the linears that read their outputs; None if the library has them."""
    from llmcompressor.modifiers.transform.awq import AWQMapping

    if architecture not in READERS:
        return None
    ending = llmcompressor.ending
    return [AWQMapping(ending(x), list(map(ending, y))) for x, y in READERS[architecture].items()]
