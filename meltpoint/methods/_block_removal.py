"""The number of blocks that are removed at a level, for methods that remove whole blocks."""

from collections.abc import Sequence
from pathlib import Path

from meltpoint.chain import Sparsity
from meltpoint.checkpoints.description import Description
from meltpoint.errors import NotApplicable
from meltpoint.methods._reach import nearest_level
from meltpoint.methods.contract import Block
from meltpoint.methods.settings import ShapeSettings


def check_rotation(method: str, source: Path) -> None:
    """Raises NotApplicable for a checkpoint whose blocks lead from one basis to another."""
    for index, block in enumerate(Description.read(source).shapes.blocks):
        if block.shortcuts:
            raise NotApplicable(
                f"{method} cannot leave out a block here: block {index} sends the residual stream "
                "through matrices, and the blocks behind it read what they give"
            )


def removed_blocks(
    method: str,
    block: Block,
    level: Sparsity,
    settings: ShapeSettings,
    nominal: int,
    choices: Sequence[Sequence[int]],
) -> Sequence[int]:
    """Indices of the blocks that a step removes.

    `nominal` is the number of blocks to remove by the official rounding of the level. ``choices[n]``
    are the n blocks to remove, for n from 0 to the most that the method can remove. With of=parameters
    the number is the one nearest to the level, by the blocks' `parameters` in the search's result.
    Raises NotApplicable for a level that removes no block or too many.
    """
    step, count = f"{method}@{level.fraction:g}", nominal
    if settings.of == "parameters":
        step = f"{step},of=parameters"
        count = nearest_level(method, _fractions(block, choices), level.fraction)
    if count == 0:
        raise NotApplicable(f"{step} removes 0 of {block.count} blocks")
    if count >= len(choices):
        raise NotApplicable(
            f"{step} would remove {count} of {block.count} blocks, and {method} can remove "
            f"{len(choices) - 1} at most"
        )
    return choices[count]


def _fractions(block: Block, choices: Sequence[Sequence[int]]) -> list[float]:
    """Fraction of the dense decoder's parameters that is gone after each choice."""
    dense, before = block.parameters
    sizes = block.search["parameters"]
    return [1 - (before - sum(sizes[i] for i in chosen)) / dense for chosen in choices]
