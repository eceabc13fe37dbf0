"""The table of contracts by kind, and the checks that it is made of.

Each takes a `Case`: a step, the checkpoint that it started from and the one that it made.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import torch

from meltpoint import methods
from meltpoint.chain import Bits, Pattern, parse_level
from meltpoint.checkpoints.description import Description
from meltpoint.model import empty_model
from tests.support.steps import linear_names, skeleton, weights, zeros_of


@dataclass(frozen=True)
class Case:
    """A step that was taken, from `parent` to `target`."""

    method: methods.Method
    level: str
    parent: Path
    target: Path

    @cached_property
    def before(self) -> dict[str, torch.Tensor]:
        return weights(self.parent)

    @cached_property
    def after(self) -> dict[str, torch.Tensor]:
        return weights(self.target)

    @cached_property
    def names(self) -> list[str]:
        """Names of the weights of the parent's linears."""
        return linear_names(self.parent)

    @cached_property
    def origin(self) -> Description:
        return Description.read(self.parent)

    @cached_property
    def description(self) -> Description:
        return Description.read(self.target)


Check = Callable[[Case], None]


@dataclass(frozen=True)
class Contract:
    """What a step of a kind may change, what it must reach, and what it must keep."""

    may_change: Check
    must_reach: Check
    must_keep: Check


def linears_alone(case: Case) -> None:
    """Only values of the decoder's linears change; norms and biases where the method says so."""
    assert set(case.after) == set(case.before)
    others = set(case.before) - set(case.names)
    if case.method.facts.rescales_norms:
        others = {name for name in others if case.before[name].dim() > 1}
    half = case.method.facts.stores_biases_in == "float16"
    close = {"rtol": 1e-3, "atol": 1e-4} if half else {"rtol": 0, "atol": 0}
    for name in others:
        torch.testing.assert_close(case.before[name], case.after[name], **close)
    for name in case.names:
        assert case.after[name].shape == case.before[name].shape
        assert not torch.equal(case.after[name], case.before[name]), name


def shapes(case: Case) -> None:
    """Shapes of anything may change, and some does."""
    assert {n: t.shape for n, t in case.after.items()} != {
        n: t.shape for n, t in case.before.items()
    }


def linears_to_factors(case: Case) -> None:
    """A linear may become two; everything else is as it was."""
    linears = {name.removesuffix(".weight") for name in case.names}
    for name in case.after.keys() - case.before.keys():
        assert re.sub(r"\.[01]\.(weight|bias)$", "", name) in linears
    for name in case.before.keys() - case.after.keys():
        assert name.rpartition(".")[0] in linears
    for name in case.before.keys() & case.after.keys():
        if name not in case.names:
            assert torch.equal(case.before[name], case.after[name]), name


def zeros(case: Case) -> None:
    """Each part has the zeros that were asked for: the linears, the blocks or the model."""
    level = parse_level(case.level)
    for weight in parts(case):
        if isinstance(level, Pattern):
            kept = (weight.unflatten(1, (-1, level.group)) != 0).sum(-1)
            assert (kept == level.kept).all()
        else:
            # The official roundings: one weight per matrix, block of columns or row.
            missing = (weight == 0).sum() - level.fraction * weight.numel()
            assert abs(missing) <= weight.shape[0]
    assert case.description.requested["zeros"] == level.fraction
    assert case.description.achieved.zeros == zeros_of(case.target)


def parts(case: Case) -> list[torch.Tensor]:
    """The weights [rows, columns] that have the requested sparsity together."""
    scope = case.method.facts.sparsity_scope
    if scope == "linear":
        return [case.after[name] for name in case.names]
    groups: dict[str, list] = {}
    for name in case.names:
        block = re.sub(r"(\d+)\..*", r"\1", name) if scope == "block" else ""
        groups.setdefault(block, []).append(case.after[name].flatten())
    return [torch.cat(group)[None] for group in groups.values()]


def parameters(case: Case) -> None:
    """Parameters are counted; what was asked for holds where they are an axis."""
    path, _ = empty_model.decoder_blocks(skeleton(case.target))
    left = sum(t.numel() for name, t in case.after.items() if name.startswith(f"{path}."))
    dense = case.description.dense_parameters
    assert dense == case.origin.dense_parameters
    assert case.description.achieved.parameters == pytest.approx(1 - left / dense)
    requested = case.description.requested
    if "parameters" in requested:
        assert case.description.achieved.parameters == pytest.approx(
            requested["parameters"], abs=0.05
        )
    else:
        assert requested["level"] == parse_level(case.level).fraction


def bits(case: Case) -> None:
    """Each linear is on its grids, which have the levels that were asked for."""
    level, linears = parse_level(case.level or "none"), case.description.linears
    assert [f"{name}.weight" for name in linears] == case.names
    for name, linear in linears.items():
        if isinstance(level, Bits):
            assert linear.stored.bits == level.bits
            assert case.description.requested["bits"] == level.bits
        assert linear.stored.bits <= 8
        most = most_levels(case.after[f"{name}.weight"], linear.stored.group_size)
        assert most <= 2**linear.stored.bits
    scales = sum(linear.stored.overhead(*linear.shape) for linear in linears.values())
    codes = sum(math.prod(x.shape) * x.stored.bits for x in linears.values())
    others = sum(32 * matrix.count for matrix in case.description.other_matrices.values())
    count = sum(math.prod(x.shape) for x in linears.values()) + others // 32
    assert case.description.achieved.bits == pytest.approx((codes + scales + others) / count)


def most_levels(weight: torch.Tensor, group_size: int) -> int:
    """The most distinct values in a group of columns of a row."""
    groups = weight.split(weight.shape[1] if group_size == -1 else group_size, dim=1)
    return max(len(row.unique()) for group in groups for row in group)


def nothing(case: Case) -> None:
    """Nothing need be reached."""
    assert case.description.requested == case.origin.requested


def shapes_and_zeros(case: Case) -> None:
    """Shapes stay, and so do zeros, which count among those that were asked for."""
    assert case.description.shapes == case.origin.shapes
    assert {n: t.shape for n, t in case.after.items()} == {
        n: t.shape for n, t in case.before.items()
    }
    for name in case.names:
        assert (case.after[name][case.before[name] == 0] == 0).all(), name
    assert case.description.zeros_lost == 0
    level, achieved = parse_level(case.level), case.description.achieved.zeros
    assert achieved >= level.fraction - 0.03
    # A pattern's groups have more zeros where earlier ones were not spread evenly.
    assert isinstance(level, Pattern) or achieved <= level.fraction + 0.03


def shapes_and_counted_zeros(case: Case) -> None:
    """Shapes stay; zeros stay or are counted as lost, and rounding claims no sparsity."""
    assert case.description.shapes == case.origin.shapes
    lost = sum(int(((case.before[n] == 0) & (case.after[n] != 0)).sum()) for n in case.names)
    description, origin = case.description, case.origin
    assert description.zeros_lost == lost
    assert description.requested.get("zeros") == origin.requested.get("zeros")
    assert description.achieved.zeros + description.rounded == pytest.approx(zeros_of(case.target))
    if case.method.is_blockwise:
        assert not lost
        assert description.achieved.zeros == origin.achieved.zeros


def shapes_and_pruned_zeros(case: Case) -> None:
    """Shapes stay, and so do the zeros of linears that have others than those of rounding."""
    assert case.description.shapes == case.origin.shapes
    for name, linear in case.origin.linears.items():
        if linear.zeros > linear.zeros_rounded:
            before, after = (weights[f"{name}.weight"] for weights in (case.before, case.after))
            assert (after[before == 0] == 0).all(), name
    description, origin = case.description, case.origin
    assert description.zeros_lost == 0
    assert description.achieved.zeros >= origin.achieved.zeros
    assert description.achieved.zeros + description.rounded == pytest.approx(zeros_of(case.target))


def agreement(case: Case) -> None:
    """Config, description and files agree, and zeros of weights that stay are kept."""
    model = skeleton(case.target)
    stored = {name: tuple(tensor.shape) for name, tensor in case.after.items()}
    assert stored == {name: tuple(p.shape) for name, p in model.named_parameters()}
    _, blocks = empty_model.decoder_blocks(model)
    assert len(blocks) == len(case.description.shapes.blocks)
    assert case.description.zeros_lost == 0


CONTRACTS = {
    "unstructured": Contract(
        may_change=linears_alone,
        must_reach=zeros,
        must_keep=shapes_and_zeros,
    ),
    "structured": Contract(
        may_change=shapes,
        must_reach=parameters,
        must_keep=agreement,
    ),
    "low-rank": Contract(
        may_change=linears_to_factors,
        must_reach=parameters,
        must_keep=agreement,
    ),
    "quantization": Contract(
        may_change=linears_alone,
        must_reach=bits,
        must_keep=shapes_and_counted_zeros,
    ),
    "finetuning": Contract(
        may_change=linears_alone,
        must_reach=nothing,
        must_keep=shapes_and_pruned_zeros,
    ),
}
