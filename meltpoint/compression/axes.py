"""The compression that a step asks for on each axis, and whether the model has reached it already.

There are three axes: `zeros` and `parameters` are fractions, `bits` is a width. A value is the total
after the step, on each axis by itself. The level of a structured or low-rank method means what it means
in the official code, relative to the model at hand. It is noted as `level`, which is no axis.
"""

from collections.abc import Mapping

from meltpoint.chain import Bits, Level, Pattern, Sparsity
from meltpoint.checkpoints.description import Achieved, Description
from meltpoint.checkpoints.linears import Linear
from meltpoint.errors import NotApplicable
from meltpoint.methods.settings import MethodSettings

# Official codes may miss a level by this much, because they round.
TOLERANCE = 0.01
SHAPE_KINDS = ("structured", "low-rank")


def requested(
    kind: str, level: Level | None, settings: MethodSettings, before: dict[str, float]
) -> dict[str, float]:
    """Levels, by axis, that a chain asks for up to this step; `before` are those of the earlier steps.

    A quantization without a bit width removes the `bits` of an earlier one.
    """
    if kind in SHAPE_KINDS and isinstance(level, Sparsity):
        axis = "parameters" if getattr(settings, "of", None) == "parameters" else "level"
        others = {k: v for k, v in before.items() if k not in ("parameters", "level")}
        return {**others, axis: level.fraction}
    if isinstance(level, Sparsity | Pattern):
        return {**before, "zeros": level.fraction}
    if kind == "quantization":
        others = {k: v for k, v in before.items() if k != "bits"}
        return {**others, "bits": level.bits} if isinstance(level, Bits) else others
    return before


def check_reach(origin: Description, requested: dict[str, float], kind: str) -> None:
    """Raises NotApplicable if the model is already past the level that the step asks for on its axis.

    Zeros that came of rounding count as well. Bits are not checked, because a step may widen a grid.
    """
    if kind == "unstructured":
        _check_zeros(origin, requested)
    elif kind in SHAPE_KINDS:
        _check_parameters(origin, requested)


def _check_zeros(origin: Description, requested: dict[str, float]) -> None:
    zeros = origin.achieved.zeros + origin.rounded
    if zeros > requested.get("zeros", 1) + TOLERANCE:
        by_rounding = f" ({origin.rounded:.3f} by rounding)" if origin.rounded else ""
        raise NotApplicable(
            f"the model is {zeros:.3f} sparse already{by_rounding}, more than the "
            f"{requested['zeros']:g} that is asked for: in a chain a sparsity is the total after the "
            "step"
        )


def _check_parameters(origin: Description, requested: dict[str, float]) -> None:
    gone = origin.achieved.parameters
    if gone > requested.get("parameters", 1) + TOLERANCE:
        raise NotApplicable(
            f"{gone:.3f} of the dense decoder's parameters are gone already, more than the "
            f"{requested['parameters']:g} that is asked for: with of=parameters the total after the "
            "step is meant"
        )


def left_grids(
    kind: str, before: Mapping[str, Linear], after: Mapping[str, Linear], step: str
) -> list[str]:
    """A list with the warning that fine-tuning has moved linears off their grids; [] if it has not."""
    left = [name for name, linear in before.items() if linear.stored and not after[name].stored]
    if kind != "finetuning" or not left:
        return []
    return [
        f"{step} has decoded {len(left)} of {len(before)} linears that were quantised: they are dense "
        "numbers now"
    ]


def warnings(origin: Description, achieved: Achieved, step: str) -> list[str]:
    """A list with the warning that a step has replaced linears by denser matrices, or []."""
    before, after = origin.achieved.zeros, achieved.zeros
    if after > before - TOLERANCE:
        return []
    return [
        f"{step} has put other matrices in the place of linears: of their entries {before:.3f} were "
        f"zeros before, {after:.3f} are now"
    ]
