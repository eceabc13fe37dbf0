"""SLEB: blocks are removed one after the other, each time the one without which the loss is lowest.

The loss of a model is the sum over the calibration windows of the mean cross-entropy of a window's
T - 1 predicted tokens, times T, in float32. The first and the last block that are left stay; of equal
losses the first counts. A level s removes floor(L s + 1/2) of the L blocks of the model at hand. The
order of removal does not depend on the level, so it is searched once for all levels, down to two
blocks.

The search costs about half of the official code's block passes, up to 0.7 of them with five blocks:
the candidates of a removal share the hidden states before them, which the next removal takes over.
The blocks are read one at a time. The search holds the hidden states of the candidates and at the
blocks' borders, at most 4 GiB of them. If they need more, the windows go through the blocks in
groups.

Song, Oh, Kim, Kim, Kim and Kim, "SLEB: Streamlining LLMs through Redundancy Verification and
Elimination of Transformer Blocks", ICML 2024.
"""

import math
from pathlib import Path
from typing import Any

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule
from meltpoint.methods._block_removal import check_rotation, removed_blocks
from meltpoint.methods.contract import Block, Context, Statistics
from meltpoint.methods.settings import CalibratedSettings, ShapeSettings

kind = "structured"
levels = (Sparsity,)
env = "torch"
greedy = LazyModule("meltpoint.methods._sleb_search")


class Settings(CalibratedSettings, ShapeSettings):
    """The calibration, and what a level is a fraction of."""


def calibrated(level: Sparsity, settings: Settings) -> bool:
    """False: the search alone looks at text."""
    return False


def search(source: Path, settings: Settings, context: Context) -> dict[str, Any]:
    """Blocks in their `order` of removal, the `losses` of each removal, and `parameters` of a block.

    Raises NotApplicable for a model of fewer than three blocks, and for a rotated one.
    """
    check_rotation("sleb", source)
    return greedy.search(source, context)


def search_windows(settings: Settings, blocks: int, windows: int) -> tuple[int, int]:
    """Windows of the candidates of all removals, through the blocks behind them, and the head.

    With n blocks left there are n - 2 candidates, and (n - 1)(n - 2)/2 passes through a block.
    """
    return windows * math.comb(blocks, 3), windows * math.comb(blocks - 1, 2)


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Drops the block if it is among the first in the order of removal.

    Raises NotApplicable for a level that removes no block, or more than all but two.
    """
    order = block.search["order"]
    choices = [order[:count] for count in range(len(order) + 1)]
    nominal = math.floor(block.count * level.fraction + 0.5)
    if block.index in removed_blocks("sleb", block, level, settings, nominal, choices):
        block.drop()
