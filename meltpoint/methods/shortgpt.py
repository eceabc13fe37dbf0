"""ShortGPT: the blocks of the lowest influence are removed in one shot.

The influence of a block is ``BI = 1 - E_t cos(h_t, h'_t)``: how far the block turns the hidden state h
of a token t, averaged over the calibration. A cosine that is not defined counts as 0.5. A level s
removes the int(L s) blocks of the lowest influence of the L blocks of the model at hand, the first of
equal ones.

With `angular` n = int(L s) consecutive blocks go. They start at the block where
``arccos(cos(h, h_n)) / pi`` is the smallest, with h the hidden state of a window's last token
before these blocks and h_n the one after them (Gromov et al., "The Unreasonable Ineffectiveness of
the Deeper Layers", 2024). With `order_study` the influence of the last block is that of block and
final norm together, as in the script of the study of the order of operations, which reads
transformers' `hidden_states`. One pass of the calibration gives all influences and angles, for all
levels.

Men, Xu, Zhang, Wang, Lin, Lu, Han and Chen, "ShortGPT: Layers in Large Language Models are More
Redundant Than You Expect", 2024; there is no official code.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule
from meltpoint.methods._block_removal import check_rotation, removed_blocks
from meltpoint.methods.contract import Block, Context, Statistics
from meltpoint.methods.settings import CalibratedSettings, ShapeSettings

kind = "structured"
levels = (Sparsity,)
env = "torch"
influence = LazyModule("meltpoint.methods._shortgpt_influence")


class Settings(CalibratedSettings, ShapeSettings):
    """The calibration, and how the blocks are chosen."""

    angular: bool = Field(
        False, description="Whether consecutive blocks go, those that turn the last token least."
    )
    order_study: bool = Field(
        False,
        description="Whether the last block's influence includes the final norm, as in the study of "
        "the order of operations.",
    )

    @model_validator(mode="after")
    def _is_one_variant(self) -> "Settings":
        if self.angular and self.order_study:
            raise ValueError("angular and order_study are two variants: set one of them")
        return self


def calibrated(level: Sparsity, settings: Settings) -> bool:
    """False: only the search reads the calibration."""
    return False


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Influences and angles of the blocks; raises NotApplicable for a rotated model.

    `influences` are the blocks', `influence_with_norm` is the last one's together with the final norm,
    ``angles[n - 1]`` are those of n consecutive blocks by the first of them, and `parameters` are the
    blocks' numbers of parameters.
    """
    check_rotation("shortgpt", source)
    return influence.measure(source, context)


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Drops the block if the level removes it.

    Raises NotApplicable for a level that removes no block.
    """
    choices = _runs(block.search) if settings.angular else _lowest(block.search, settings)
    nominal = int(block.count * level.fraction)
    if block.index in removed_blocks("shortgpt", block, level, settings, nominal, choices):
        block.drop()


def _lowest(found: dict[str, Any], settings: Settings) -> list[list[int]]:
    """The n blocks of the lowest influence, for each n below the number of blocks."""
    influences = list(found["influences"])
    if settings.order_study:
        influences[-1] = found["influence_with_norm"]
    order = sorted(range(len(influences)), key=influences.__getitem__)
    return [order[:count] for count in range(len(order))]


def _runs(found: dict[str, Any]) -> list[list[int]]:
    """The n consecutive blocks of the smallest angle, for each n below the number of blocks."""
    runs: list[list[int]] = [[]]
    for count, angles in enumerate(found["angles"], start=1):
        start = angles.index(min(angles))
        runs.append(list(range(start, start + count)))
    return runs
