"""A low-rank method for tests: each linear becomes the two factors of its truncated SVD."""

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods.settings import MethodSettings

parts = LazyModule("meltpoint.model.block_parts")
surgery = LazyModule("meltpoint.model.surgery")

kind = "low-rank"
levels = (Sparsity,)
env = "torch"


class Settings(MethodSettings):
    """What the level means."""

    of: str = Field("linear", description="`parameters`: the level is of the dense decoder's.")


def compress_block(block, statistics, level, settings) -> None:
    """Replaces the block's linears by factors that hold `1 - level` of their numbers, in place."""
    for name, linear in parts.matrices(block.module).items():
        weight = parts.weight_of(linear)
        rows, columns = weight.shape
        rank = max(1, int(rows * columns * (1 - level.fraction) / (rows + columns)))
        u, s, v = torch.linalg.svd(weight, full_matrices=False)
        root = s[:rank].sqrt()
        second, first = u[:, :rank] * root, root[:, None] * v[:rank]
        surgery.factorise(block.module, name, first.contiguous(), second.contiguous())
