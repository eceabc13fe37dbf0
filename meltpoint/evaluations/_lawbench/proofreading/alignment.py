"""The cheapest alignments of two sentences, character by character.

A step is a match, a transposition (of k + 1 characters, at the cost of k), a substitution, an insertion
or a deletion (at the cost of 1). An alignment is a list of runs, since alignments with equal runs give
equal edits. A run is a row of matches, one transposition, or a row of other steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from meltpoint.evaluations._lawbench.proofreading.characters import substitution_cost

MATCH, TRANSPOSITION, SUBSTITUTION, INSERTION, DELETION = "MTSID"
# Classes of steps. Neighbouring steps of one class join one run, except for transpositions. The empty
# kind stands for the beginning of a sentence.
CLASSES = {"": "", MATCH: MATCH, TRANSPOSITION: TRANSPOSITION} | dict.fromkeys(
    (SUBSTITUTION, INSERTION, DELETION), "changes"
)
# Two sentences whose lengths differ by more characters get one alignment only.
MOST_DIFFERENCE = 10
# The official code gives a sentence up after 10 s, which depends on the machine. Here two sentences
# with more alignments than this get one alignment only.
MOST_ALIGNMENTS = 20_000

Cell = tuple[int, int]
ORIGIN: Cell = (0, 0)
# A kind of step, and the numbers of characters that it takes from the source and from the target.
Step = tuple[str, int, int]


@dataclass(frozen=True)
class Run:
    """Characters `start` to `end` of the source, aligned with `target_start` to `target_end`.

    Both ends are exclusive.
    """

    kind: str
    start: int
    end: int
    target_start: int
    target_end: int


Alignment = tuple[Run, ...]


def alignments(source: str, target: str) -> list[Alignment]:
    """The cheapest alignments of a source sentence with a target, without repetitions.

    It is one alignment if the sentences differ by `MOST_DIFFERENCE` in length, or if there are more
    than `MOST_ALIGNMENTS`.
    """
    end = (len(source), len(target))
    steps = cheapest_steps(source, target)
    if abs(len(source) - len(target)) <= MOST_DIFFERENCE:
        runs = Runs(_steps_onward(steps, end))
        if runs.count(end) <= MOST_ALIGNMENTS:
            return list(runs.lists(end))
    (only,) = Runs(_first_steps(steps, end)).lists(end)
    return [only]


def cheapest_steps(source: str, target: str) -> dict[Cell, list[Step]]:
    """For each pair of beginnings, by their lengths, the last steps of their cheapest alignments.

    Steps of equal cost are in the order transposition, substitution, insertion, deletion.
    """
    costs = [[0.0] * (len(target) + 1) for _ in range(len(source) + 1)]
    steps: dict[Cell, list[Step]] = {}
    for i in range(1, len(source) + 1):
        costs[i][0], steps[i, 0] = costs[i - 1][0] + 1, [(DELETION, 1, 0)]
    for j in range(1, len(target) + 1):
        costs[0][j], steps[0, j] = costs[0][j - 1] + 1, [(INSERTION, 0, 1)]
    for i, a in enumerate(source):
        for j, b in enumerate(target):
            if a == b:
                costs[i + 1][j + 1], steps[i + 1, j + 1] = costs[i][j], [(MATCH, 1, 1)]
                continue
            size, swapped = _transposition(source, target, costs, i, j)
            options = (
                (swapped, (TRANSPOSITION, size, size)),
                (costs[i][j] + substitution_cost(a, b), (SUBSTITUTION, 1, 1)),
                (costs[i + 1][j] + 1, (INSERTION, 0, 1)),
                (costs[i][j + 1] + 1, (DELETION, 1, 0)),
            )
            cheapest = min(cost for cost, _ in options)
            costs[i + 1][j + 1] = cheapest
            steps[i + 1, j + 1] = [step for cost, step in options if cost == cheapest]
    return steps


def _transposition(
    source: str, target: str, costs: Sequence[Sequence[float]], i: int, j: int
) -> tuple[int, float]:
    """Size and cost of the shortest transposition that ends with characters i and j.

    That is 0 and infinity if there is none.
    """
    if source[i] not in target or target[j] not in source:
        return 0, float("inf")
    k = 1
    # For each character its number in the source less that in the target, over the last k characters.
    surplus: Counter[str] = Counter()
    _balance(surplus, source[i], target[j])
    while k <= min(i, j) and costs[i - k + 1][j - k + 1] != costs[i - k][j - k]:
        _balance(surplus, source[i - k], target[j - k])
        if not surplus:
            return k + 1, costs[i - k][j - k] + k
        k += 1
    return 0, float("inf")


def _balance(surplus: Counter[str], more: str, less: str) -> None:
    """Counts a character of the source up and one of the target down; removes counts of 0."""
    for character, change in ((more, 1), (less, -1)):
        surplus[character] += change
        if not surplus[character]:
            del surplus[character]


# --- alignments from steps ---------------------------------------------------------------------------


def _first_steps(steps: Mapping[Cell, list[Step]], end: Cell) -> dict[Cell, list[Step]]:
    """The steps of one cheapest alignment, by the cell that each step leaves.

    Going back from the end, it takes the first of all steps of equal cost.
    """
    path: dict[Cell, list[Step]] = {}
    i, j = end
    while (i, j) != ORIGIN:
        step = steps[i, j][0]
        i, j = i - step[1], j - step[2]
        path[i, j] = [step]
    return path


def _steps_onward(steps: Mapping[Cell, list[Step]], end: Cell) -> dict[Cell, list[Step]]:
    """The steps of all cheapest alignments, by the cell that each step leaves."""
    onward: dict[Cell, list[Step]] = {}
    waiting, seen = [end], {end}
    while waiting:
        i, j = waiting.pop()
        for step in steps.get((i, j), []):
            before = (i - step[1], j - step[2])
            onward.setdefault(before, []).append(step)
            if before not in seen:
                seen.add(before)
                waiting.append(before)
    return onward


class Runs:
    """The runs of all alignments, by the cell in which they end.

    A step joins a run of its class: matches, or substitutions, insertions and deletions. Alignments
    that differ only in the steps within a run are therefore equal.
    """

    def __init__(self, onward: Mapping[Cell, list[Step]]) -> None:
        # For each cell the runs that end there: (kind, cell where the run starts), in a fixed order.
        self._ending: dict[Cell, dict[tuple[str, Cell], None]] = {ORIGIN: {("", ORIGIN): None}}
        for cell in sorted(onward):
            for kind, rows, columns in onward[cell]:
                ending = self._ending.setdefault((cell[0] + rows, cell[1] + columns), {})
                for open_kind, start in self._ending[cell]:
                    joined = _join(open_kind, kind)
                    ending[(joined, start) if joined else (kind, cell)] = None
        self._counts: dict[tuple[Cell, str], int] = {}

    def count(self, end: Cell) -> int:
        """Number of different lists of runs from the origin to a cell."""
        for cell in sorted(self._ending):
            for kind, start in self._ending[cell]:
                before = 1 if not kind else self._count_before(start, kind)
                key = (cell, CLASSES[kind])
                self._counts[key] = self._counts.get(key, 0) + before
        return sum(self._counts.get((end, each), 0) for each in set(CLASSES.values()))

    def _count_before(self, start: Cell, kind: str) -> int:
        return sum(
            self._counts.get((start, each), 0)
            for each in set(CLASSES.values())
            if not _same_run(each, CLASSES[kind])
        )

    def lists(self, end: Cell, later: str = "") -> Iterator[Alignment]:
        """Alignments that lead to a cell, such that a run of the class `later` can follow the last."""
        # Not recursive: a long sentence has more runs than Python has stack.
        waiting: list[tuple[Cell, str, tuple]] = [(end, later, ())]
        while waiting:
            cell, later, chain = waiting.pop()
            for kind, start in self._ending[cell]:
                if not kind:
                    yield _unchained(chain)
                elif not _same_run(CLASSES[kind], later):
                    run = Run(kind, start[0], cell[0], start[1], cell[1])
                    waiting.append((start, CLASSES[kind], (run, chain)))


def _same_run(first: str, second: str) -> bool:
    """True if neighbouring steps of these two classes belong to one run."""
    return first == second and first in (MATCH, "changes")


def _join(open_kind: str, kind: str) -> str:
    """The kind of an open run after one more step; empty if the step begins a new run."""
    if not _same_run(CLASSES[open_kind], CLASSES[kind]):
        return ""
    # An insertion beside a deletion costs more than a substitution: no cheapest alignment has it.
    return kind if kind == open_kind else SUBSTITUTION


def _unchained(chain: tuple) -> Alignment:
    runs = []
    while chain:
        run, chain = chain
        runs.append(run)
    return tuple(runs)
