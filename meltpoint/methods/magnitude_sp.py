"""Mag-sp: heads and neurons whose output columns have the smallest norm are cut, alike in every block.

Column j of attention's and the MLP's output matrix W scores its norm ``||W_:j||_2``. A head scores the
sum of its columns. Of H heads the floor(H s) lowest are cut, of f neurons the floor(f s) lowest. So
a block keeps at least one head and one neuron. No text is looked at.

Where query heads share key and value heads, each such group is scored and cut as one, or with
`expand_kv=true` each head by itself. No weight is updated and no bias added.

An, Zhao, Yu, Tang and Wang, "Fluctuation-based Adaptive Structured Pruning for Large Language Models",
AAAI 2024, whose code has this baseline.
"""

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule
from meltpoint.methods._uniform_units import UniformSettings, cut_lowest
from meltpoint.methods._units import outputs_of
from meltpoint.methods.contract import Block, Statistics

parts_of = LazyModule("meltpoint.model.block_parts")

kind = "structured"
levels = (Sparsity,)
env = "torch"


class Settings(UniformSettings):
    """Meaning of the level, and whether heads are expanded first."""


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Cuts the block's heads and neurons of smallest norm, in place."""
    columns = {
        kind: parts_of.weight_of(linear).float().norm(dim=0)
        for kind, linear in outputs_of(block.module).items()
    }
    cut_lowest("magnitude_sp", block, columns, level, settings)
