"""The global search's knapsack: all units of all blocks by their scores, and those that are removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.methods._hgsp_units import KINDS
from meltpoint.methods._reach import nearest_level
from meltpoint.methods.contract import Block
from meltpoint.methods.settings import MethodSettings


@dataclass(frozen=True)
class Table:
    """All units, a row each: arrays [units].

    `kind` is an index of `KINDS`, `unit` the number within its block and kind. `order` are the rows by
    ascending score.
    """

    block: np.ndarray
    kind: np.ndarray
    unit: np.ndarray
    importance: np.ndarray
    cost: np.ndarray
    score: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Indices of the rows by ascending score; rows of equal score keep their order."""
        return np.argsort(self.score, kind="stable")


def table(search: dict[str, Any], factors: np.ndarray) -> Table:
    """The table of a search's units; `factors` [blocks, kinds] multiply importance by cost."""
    parts = []
    for block, facts in enumerate(search["blocks"]):
        for kind, name in enumerate(KINDS):
            if not facts[name]["units"]:
                continue
            importance = search[f"importance.{block}.{name}"].astype(np.float64)
            units, cost = np.arange(len(importance)), np.full(len(importance), facts[name]["cost"])
            score = importance / cost * factors[block, kind]
            place = np.full_like(units, block), np.full_like(units, kind), units
            parts.append((*place, importance, cost, score))
    return Table(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def factors(
    search: dict[str, Any], tau: float | str, temperature: float, blockwise: bool
) -> np.ndarray:
    """``M = ln(1 + D)^temperature`` of each block and kind, float64 [blocks, kinds].

    D is the increase of the loss without the whole block. With `blockwise` it is that without the kind
    alone, unless the block's is below `tau`. Raises NotApplicable if M is not defined.
    """
    layers = np.array(search["difference.layer"], dtype=np.float64)
    values = np.repeat(layers[:, None], len(KINDS), axis=1)
    if blockwise:
        alone = np.array([search[f"difference.{kind}"] for kind in KINDS], dtype=np.float64).T
        limit = np.quantile(layers, 0.25) if tau == "quartile" else tau
        values = np.where((layers >= limit)[:, None] & ~np.isnan(alone), alone, values)
    _check(values)
    logarithms = np.log1p(values)
    if (logarithms < 0).any() and temperature != int(temperature):
        raise NotApplicable(
            f"hgsp needs a whole temperature, not {temperature:g}, where the loss falls without a part"
        )
    return logarithms**temperature


def _check(values: np.ndarray) -> None:
    for block, kind in np.argwhere(~(np.isfinite(values) & (values > -1))):
        raise NotApplicable(
            f"hgsp cannot weigh the {KINDS[kind]} of block {block}: without it the loss changes by "
            f"{values[block, kind]:.3g}, and ln(1 + change) is not finite; set prior=taylor"
        )


def removed_by_budget(units: Table, budget: int) -> np.ndarray:
    """Rows to remove: the longest prefix by score whose cost is within the budget; at least one."""
    order = units.order
    number = np.searchsorted(np.cumsum(units.cost[order]), budget, side="right")
    return order[: max(int(number), 1)]


def removed_by_fraction(
    units: Table,
    blocks: Sequence[dict[str, Any]],
    fraction: float,
    parameters: tuple[int, int],
) -> np.ndarray:
    """Rows to remove: the prefix by score after which the fraction of parameters gone is nearest.

    parameters: numbers of parameters of the dense decoder, and of the decoder before the cut. Raises
    NotApplicable for a fraction that no prefix comes near to.
    """
    order = units.order
    gone = np.cumsum(_parameters(units, order, blocks))
    dense, before = parameters
    fractions = 1 - (before - np.concatenate([[0], gone])) / dense
    number = nearest_level("hgsp", fractions.tolist(), fraction)
    return order[:number]


def _parameters(units: Table, order: np.ndarray, blocks: Sequence[dict[str, Any]]) -> np.ndarray:
    """Numbers of parameters that go with each row of `order`, int64 [units].

    The last unit of a part takes the rest of the part with it, the last of a block its norms.
    """
    numbers = np.array([[facts[kind]["parameters"] for kind in KINDS] for facts in blocks])
    gone = numbers[units.block[order], units.kind[order]]
    for index, facts in enumerate(blocks):
        last = []
        for kind, name in enumerate(KINDS):
            rows = np.flatnonzero((units.block[order] == index) & (units.kind[order] == kind))
            if len(rows):
                last.append(rows[-1])
                gone[rows[-1]] += facts[name]["rest"]
        if last:
            gone[max(last)] += facts["norms"]
    return gone


def kept(units: Table, removed: np.ndarray, blocks: int) -> list[dict[str, np.ndarray]]:
    """Indices of the units that each block keeps, by kind, ascending."""
    stays = np.ones(len(units.unit), dtype=bool)
    stays[removed] = False
    return [
        {
            name: units.unit[stays & (units.block == block) & (units.kind == kind)]
            for kind, name in enumerate(KINDS)
        }
        for block in range(blocks)
    ]


def select(block: Block, level: Sparsity, settings: MethodSettings) -> dict[str, Any]:
    """The units to keep in each block by kind, the table of all units, and the removed rows.

    Raises NotApplicable if all units or none would go.
    """
    found = block.search
    blocks = found["blocks"]
    weights = np.ones((len(blocks), len(KINDS)))
    if settings.prior != "taylor":
        blockwise = settings.prior == "blockwise"
        weights = factors(found, settings.tau, settings.temperature, blockwise)
    units = table(found, weights)
    decoder = sum(facts["parameters"] for facts in blocks)
    if settings.of == "parameters":
        sizes = block.parameters[0], decoder
        removed = removed_by_fraction(units, blocks, level.fraction, sizes)
    else:
        budget = int(level.fraction * (found["outer_parameters"] + decoder))
        removed = removed_by_budget(units, budget)
    if len(removed) in (0, len(units.unit)):
        raise NotApplicable(
            f"hgsp@{level} removes {len(removed)} of {len(units.unit)} heads and neurons"
        )
    stays = kept(units, removed, len(blocks))
    return {"search": found, "table": units, "removed": removed, "kept": stays, "after": []}
