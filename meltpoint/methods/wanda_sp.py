"""Wanda-sp: heads and neurons of lowest summed Wanda metric are cut, the same ratio of every block.

Column j of attention's and the MLP's output matrix W scores ``mean_i |W_ij| sqrt(a_j)`` with a_j the
squared norm of its input over the tokens of a calibration window, averaged over windows. A head scores
the sum of its columns. Of H heads the floor(H s) lowest are cut, of f neurons the floor(f s) lowest,
so a block keeps at least one head and one neuron. Each block sees what the pruned blocks before it
compute.

Where query heads share key and value heads, each such group is scored and cut as one, or with
`expand_kv=true` each head by itself. No weight is updated and no bias added.

An, Zhao, Yu, Tang and Wang, "Fluctuation-based Adaptive Structured Pruning for Large Language Models",
AAAI 2024, whose code has this baseline.
"""

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule
from meltpoint.methods._uniform_units import UniformSettings, cut_lowest
from meltpoint.methods._units import input_name, outputs_of
from meltpoint.methods.contract import Block, Statistics
from meltpoint.methods.settings import CalibratedSettings

parts_of = LazyModule("meltpoint.model.block_parts")

kind = "structured"
levels = (Sparsity,)
env = "torch"
statistics = ("norm",)


class Settings(UniformSettings, CalibratedSettings):
    """Meaning of the level, and whether heads are expanded first."""


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Cuts the block's heads and neurons of lowest score, in place."""
    columns = {}
    for kind, linear in outputs_of(block.module).items():
        norm = statistics[input_name(block.module, linear)].norm
        columns[kind] = parts_of.weight_of(linear).abs().float().mean(dim=0) * norm.sqrt()
    cut_lowest("wanda_sp", block, columns, level, settings)
