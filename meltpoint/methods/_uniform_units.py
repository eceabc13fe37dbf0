"""Structured pruning that cuts the same ratio of the heads and of the neurons of every block."""

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule
from meltpoint.methods._unit_selection import (
    Parts,
    Size,
    check_cut,
    keep_highest,
    per_unit,
    ratios_of_parameters,
)
from meltpoint.methods._units import KINDS, Units, cut_units, units_of
from meltpoint.methods.contract import Block
from meltpoint.methods.settings import ExpandableSettings, ShapeSettings

surgery = LazyModule("meltpoint.model.surgery")


class UniformSettings(ExpandableSettings, ShapeSettings):
    """Settings of a method that cuts the same ratio of every block's heads and neurons."""


def cut_lowest(
    method: str, block: Block, columns: Parts, level: Sparsity, settings: UniformSettings
) -> None:
    """Cuts the units of a block whose columns have the lowest scores, in place.

    `columns` are the scores of the columns of the block's outputs, [columns] by "attention" and "mlp";
    a part without scores stays. The floor(n s) lowest of n units go. With `of=parameters` each block
    loses the ratios that bring its own parameters nearest to the level. Raises NotApplicable for a
    level that removes nothing in any block, or that cannot be reached.
    """
    units = units_of(block.module, settings.expand_kv)
    ratios = dict.fromkeys(KINDS, level.fraction)
    if settings.of == "parameters":
        ratios = ratios_of_parameters(method, [units], _size(block, units), level.fraction)
    kept = {}
    for kind, scores in columns.items():
        per = per_unit(scores, units.count_of(kind))
        kept[kind] = keep_highest(per, int(ratios[kind] * len(per)))
    if settings.expand_kv and units.heads:
        surgery.expand_kv(block.module)
    cut_units(block.module, kept.get("attention"), kept.get("mlp"))
    _check(f"{method}@{level}", block, units, kept)


def _size(block: Block, units: Units) -> Size:
    """Parameters of the block with all units, and its share of the dense decoder's."""
    now = sum(parameter.numel() for parameter in block.module.parameters())
    dense, before = block.parameters
    return Size(now * dense / before, now + units.added)


def _check(step: str, block: Block, units: Units, kept: Parts) -> None:
    """Raises NotApplicable after the last block if no block has lost a unit."""
    left = sum(int(mask.sum()) for mask in kept.values())
    counts = block.memory.setdefault("units", []), block.memory.setdefault("left", [])
    for total, number in zip(counts, (units.heads + units.neurons, left), strict=True):
        total.append(number)
    if block.index == block.count - 1:
        check_cut(step, *map(sum, counts))
