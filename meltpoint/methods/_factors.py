"""Ranks and factors that low-rank methods share.

A matrix [rows, columns] becomes two factors of rank r, which hold r (rows + columns) numbers.
"""

from collections.abc import Mapping

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._reach import nearest_level
from meltpoint.methods.contract import Block, Tensor
from meltpoint.methods.settings import ExpandableSettings, ShapeSettings

block_parts = LazyModule("meltpoint.model.block_parts")
surgery = LazyModule("meltpoint.model.surgery")


class FactorSettings(ShapeSettings, ExpandableSettings):
    """Settings of a method that gives all linears the same share of their numbers."""


def rank_of(rows: int, columns: int, share: float) -> int:
    """Largest rank whose two factors hold at most this share of a matrix's numbers."""
    return int(rows * columns * share / (rows + columns))


def ranks(method: str, block: Block, level: Sparsity, settings: FactorSettings) -> dict[str, int]:
    """Ranks of a block's matrices by name, at the level; `expand_kv` is applied first if it is set.

    Raises NotApplicable for a level that leaves a matrix without a rank, or that no rank reaches.
    """
    before = _count(block)
    expand(block, settings)
    sizes = sizes_of(block)
    share = 1 - level.fraction
    if settings.of == "parameters":
        share = _share_of_parameters(method, block, before, level)
    found = {name: rank_of(*size, share) for name, size in sizes.items()}
    if empty := next((name for name, rank in found.items() if not rank), None):
        raise NotApplicable(
            f"{method}@{level} leaves {empty} of block {block.index} no rank: its "
            f"{' x '.join(map(str, sizes[empty]))} numbers are too few"
        )
    return found


def expand(block: Block, settings: ExpandableSettings) -> None:
    """Gives each query head keys and values of its own, if `expand_kv` is set; in place."""
    if not settings.expand_kv:
        return
    parts = block_parts.BlockParts(block.module)
    if parts.has_attention and parts.kv_heads < parts.heads:
        surgery.expand_kv(block.module)


def sizes_of(block: Block) -> dict[str, tuple[int, int]]:
    """Shapes (rows, columns) of a block's matrices, by name."""
    return {
        name: (block_parts.rows_of(linear), block_parts.columns_of(linear))
        for name, linear in block_parts.matrices(block.module).items()
    }


def _count(block: Block) -> int:
    return sum(parameter.numel() for parameter in block.module.parameters())


def _share_of_parameters(method: str, block: Block, before: int, level: Sparsity) -> float:
    """The share of the matrices' numbers to keep so that the decoder loses the level's parameters.

    Each block keeps the same fraction of its `before` parameters.
    """
    dense, total = block.parameters
    sizes = list(sizes_of(block).values())
    weights = sum(
        parameter.numel()
        for linear in block_parts.matrices(block.module).values()
        for name, parameter in linear.named_parameters()
        if name.endswith("weight")
    )
    others = _count(block) - weights
    shares = _distinct_shares(sizes)
    held = [others + _held(sizes, share) for share in shares]
    fractions = [1 - total / dense * count / before for count in held]
    return shares[nearest_level(method, fractions, level.fraction)]


def _distinct_shares(sizes: list[tuple[int, int]]) -> list[float]:
    """One share for each possible choice of ranks above zero, in ascending order."""
    steps = {
        rank * (rows + columns) / (rows * columns)
        for rows, columns in sizes
        for rank in range(1, min(rows, columns) + 1)
    }
    ordered = sorted(step for step in steps if step < 1)
    # The middle between two steps: rounding errors cannot change a rank there.
    middles = [(a + b) / 2 for a, b in zip(ordered, [*ordered[1:], 1.0], strict=True)]
    least = max((rows + columns) / (rows * columns) for rows, columns in sizes)
    return [share for share in middles if share > least]


def _held(sizes: list[tuple[int, int]], share: float) -> int:
    return sum(rank_of(*size, share) * sum(size) for size in sizes)


def split(u: Tensor, s: Tensor, v: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """First factor ``sqrt(S) V^T`` [rank, columns] and second ``U sqrt(S)`` [rows, rank].

    `u` [rows, k], `s` [k] and `v` [k, columns] are a singular value decomposition, k >= rank.
    """
    root = s[:rank].sqrt()
    return root[:, None] * v[:rank], u[:, :rank] * root


def decompose(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition ``U, S, V^T`` of a matrix, in its dtype."""
    return torch.linalg.svd(matrix, full_matrices=False)


def put(block: Block, name: str, factors: tuple[Tensor, Tensor]) -> None:
    """Replaces a matrix by two factors, first and second, in the matrix's dtype."""
    dtype = next(block.module.get_submodule(name).parameters()).dtype
    first, second = (factor.to(dtype).contiguous() for factor in factors)
    surgery.factorise(block.module, name, first, second)


def weights_of(block: Block) -> Mapping[str, Tensor]:
    """Weights of a block's matrices by name, float32 [rows, columns]; factors are multiplied."""
    matrices = block_parts.matrices(block.module)
    return {name: weight_of(linear) for name, linear in matrices.items()}


def weight_of(linear: "torch.nn.Module") -> Tensor:
    """Weight [rows, columns] of a linear or of two factors, in float32."""
    if isinstance(linear, torch.nn.Sequential):
        return linear[1].weight.float() @ linear[0].weight.float()
    return linear.weight.float()
