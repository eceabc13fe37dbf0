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
    """Replaces the block's linears by factors that hold a share of their numbers, in place."""
    share = 1 - level.fraction
    if settings.of == "parameters":
        share = _share_of(block, share * block.parameters[0] / block.parameters[1])
    for name, linear in parts.matrices(block.module).items():
        weight = parts.weight_of(linear)
        rows, columns = weight.shape
        rank = max(1, int(rows * columns * share / (rows + columns)))
        u, s, v = torch.linalg.svd(weight, full_matrices=False)
        root = s[:rank].sqrt()
        second, first = u[:, :rank] * root, root[:, None] * v[:rank]
        surgery.factorise(block.module, name, first.contiguous(), second.contiguous())


def _share_of(block, kept):
    """The share of the linears' numbers with which the block keeps a share of all of its own."""
    now = sum(parameter.numel() for parameter in block.module.parameters())
    linears = parts.matrices(block.module).values()
    dense = sum(parts.rows_of(linear) * parts.columns_of(linear) for linear in linears)
    weights = sum(linear.weight.numel() for linear in block.linears.values())
    return (kept * now - (now - weights)) / dense
