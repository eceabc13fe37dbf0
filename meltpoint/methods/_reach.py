"""The level that a method can reach and that lies nearest to the one asked for."""

from collections.abc import Sequence

from meltpoint.errors import NotApplicable


def nearest_level(method: str, fractions: Sequence[float], wanted: float) -> int:
    """Index of the reachable fraction that is nearest to `wanted`.

    fractions: fractions of the dense decoder's parameters that the method can remove, in any order.
    Raises NotApplicable, with the nearest, for a level beyond all of them by more than half a step.
    """
    ordered = sorted(set(fractions))
    nearest = min(range(len(fractions)), key=lambda index: abs(fractions[index] - wanted))
    inside = ordered[0] <= wanted <= ordered[-1]
    place = ordered.index(fractions[nearest])
    neighbours = ordered[max(place - 1, 0) : place + 2]
    step = max(neighbours) - min(neighbours)
    if not inside and abs(fractions[nearest] - wanted) > step / 2:
        raise NotApplicable(
            f"{method} cannot remove {wanted:g} of the dense decoder's parameters: the nearest that "
            f"it can is {fractions[nearest]:.3f}"
        )
    return nearest
