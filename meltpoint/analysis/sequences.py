"""Orders of steps and of operations, read off chains.

A study reads them where pandas is not installed.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

from meltpoint.chain import Step, parse_chain


def order_pairs(chains: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of chains of the same steps, each the other with two neighbouring steps swapped."""
    steps = {chain: parse_chain(chain) for chain in dict.fromkeys(chains)}
    return [
        (first, second)
        for first, second in combinations(steps, 2)
        if swapped_steps(steps[first], steps[second])
    ]


def swapped_steps(first: tuple[Step, ...], second: tuple[Step, ...]) -> tuple[Step, Step] | None:
    """The two neighbouring steps whose swap makes one chain of the other, in the first's order."""
    if len(first) != len(second):
        return None
    places = [place for place, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(places) != 2 or places[1] != places[0] + 1:
        return None
    a, b = (first[place] for place in places)
    return (a, b) if (b, a) == tuple(second[place] for place in places) else None


def sequence_of(chain: str, operations: Mapping[str, str]) -> str | None:
    """Sequence of operations of a chain; None where one of its methods stands for no operation."""
    steps = [operations.get(step.method) for step in parse_chain(chain)]
    return None if None in steps else ">".join(steps) or "dense"
