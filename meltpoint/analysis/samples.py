"""Scores per window, document or question: what is kept beside a cell, for paired statistics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from meltpoint import evaluations
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import _kept
from meltpoint.evaluations.cells import Cell
from meltpoint.evaluations.contract import Estimate, EvaluationSettings, Inputs

# Relative tolerance between a score that is computed again and the one in its cell. The arrays are
# float32, and another machine may have summed in another order.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Sample:
    """A score of a chain, unit by unit.

    scores: float64 [draws, units]; a row's mean is the score of that draw, and the mean's error that of
    the score (the perplexity of window w is ``ppl + ppl (m_w - mean(m))``, the delta method). There is
    one draw unless chains that differ in a seed are put together. draws: the seed of each.
    cell: the cell that the first draw is from. floor: the score of a model that knows nothing.
    """

    scores: np.ndarray
    cell: Cell
    draws: tuple[str, ...] = ("",)
    floor: float = 0.0

    @property
    def name(self) -> str:
        """Model, chain and evaluation, for the sentence of an error."""
        return f"{self.cell.model}/{self.cell.chain}/{self.cell.evaluation}"


def with_samples(frame: pd.DataFrame, paths: Iterable[Path]) -> pd.DataFrame:
    """The tidy frame with a column `sample`: the `Sample` of each score, None where there is none.

    paths: the cells of the frame; what is kept lies beside them.
    """
    found: dict[tuple, Sample] = {}
    for path in map(Path, paths):
        cell = Cell.read(path)
        for score, sample in samples_of(path, cell).items():
            found[cell.model, cell.chain, cell.evaluation, score] = sample
    keys = zip(*(frame[key] for key in ("model", "chain", "evaluation", "score")), strict=True)
    samples = pd.Series([found.get(key) for key in keys], index=frame.index, dtype=object)
    return frame.assign(sample=samples)


def samples_of(path: Path, cell: Cell) -> dict[str, Sample]:
    """The samples of a cell's scores, by name; none of a score that is refused or not finite.

    Raises MeltpointError, naming the file, where what is kept is missing or is not what the cell was
    made of.
    """
    kind = evaluations.find(cell.kind)
    estimate = getattr(kind.module, "estimate", None)
    if cell.status != "ok" or estimate is None or not kind.keeps:
        return {}
    settings = kind.settings_of(cell.protocol)
    files = [Path(file) for file in kind.files_beside(str(path))]
    kept = {key: read_kept(file, path) for key, file in zip(kind.keeps, files, strict=True)}
    try:
        estimates = estimate(kept, inputs_of(path, cell, kind, settings), settings)
    except (ValueError, IndexError):
        raise MeltpointError(mismatch(files[0], path)) from None
    floors = kind.floors(kept, settings)
    return {
        name: sample_of(estimate, cell, floors.get(name, 0.0))
        for name, estimate in estimates.items()
        if agrees(estimate, cell, name, files[0], path)
    }


def read_kept(file: Path, cell: Path) -> np.ndarray | list[dict]:
    """Array, or an object for each document, that is kept beside a cell."""
    try:
        return _kept.read_kept(file)
    except FileNotFoundError:
        raise MeltpointError(
            f"{file} is missing, and paired statistics are made of it: delete {cell} and run again"
        ) from None
    except (OSError, ValueError, EOFError):
        raise MeltpointError(f"{file} cannot be read: delete it and {cell} and run again") from None


def inputs_of(
    path: Path, cell: Cell, kind: evaluations.Evaluation, settings: EvaluationSettings
) -> Inputs:
    """`Inputs` with the files that an estimate reads besides the kept arrays: the cell's corpora."""
    folder = path.parents[3] / "tokens" / cell.model
    files = {"checkpoint": str(path.parent), **kind.needs(settings).token_files(str(folder))}
    return Inputs.of(files, None, f"evaluations.{cell.evaluation}")


def agrees(estimate: Estimate, cell: Cell, name: str, file: Path, path: Path) -> bool:
    """True for a score with units to pair by.

    Raises MeltpointError, naming the file, where the cell says another value.
    """
    score = cell.scores.get(name)
    if score is None or score.status != "ok" or estimate.units is None:
        return False
    if not (np.isfinite(score.value) and np.isfinite(estimate.units).all()):
        return False
    if abs(estimate.value - score.value) > TOLERANCE * abs(score.value):
        raise MeltpointError(mismatch(file, path))
    return True


def mismatch(file: Path, cell: Path) -> str:
    """Error message for an array that does not belong to its cell."""
    return (
        f"{file} is not what {cell} was made of (another shape, or other values): delete both and "
        "run again"
    )


def sample_of(estimate: Estimate, cell: Cell, floor: float = 0.0) -> Sample:
    """The sample of one draw."""
    units = estimate.units.astype(np.float64)
    return Sample((estimate.value + units - units.mean())[None], cell, floor=floor)


def stack(samples: Mapping[str, Sample]) -> Sample | None:
    """One sample of several draws, by their seeds; None where a draw has none, or other units."""
    parts = list(samples.values())
    if not parts or any(not isinstance(part, Sample) for part in parts):
        return None
    if len({part.scores.shape[1] for part in parts}) > 1:
        return None
    return replace(
        parts[0], scores=np.concatenate([part.scores for part in parts]), draws=tuple(samples)
    )


def differences(first: Sample, second: Sample) -> np.ndarray:
    """Differences first minus second, unit by unit, float64 [draws, units].

    Draws are paired by their seed; a sample of one draw is paired with each draw of the other. Raises
    MeltpointError, naming both cells, where they cannot be compared.
    """
    check_comparable(first, second)
    a, b = first.scores, second.scores
    if len(a) > 1 and len(b) > 1:
        seeds = [seed for seed in first.draws if seed in second.draws]
        if len(seeds) < 2:
            raise MeltpointError(
                f"{first.name} and {second.name} cannot be paired: they share "
                f"{len(seeds)} of their seeds, and two are needed"
            )
        a, b = of_draws(first, seeds), of_draws(second, seeds)
    return a - b


def of_draws(sample: Sample, seeds: Sequence[str]) -> np.ndarray:
    """The rows of some draws [seeds, units]."""
    return sample.scores[[sample.draws.index(seed) for seed in seeds]]


def units_of(samples: Iterable[object]) -> str:
    """Word for the units of samples: "windows" of a text, "documents", or both."""
    cells = [sample.cell for sample in samples if isinstance(sample, Sample)]
    kept = [evaluations.find(cell.kind).keeps for cell in cells]
    words = {"documents" if _kept.SAMPLES in keeps else "windows" for keeps in kept}
    return " or ".join(sorted(words, reverse=True)) or "windows"


def check_comparable(first: Sample, second: Sample) -> None:
    """Raises MeltpointError, naming both cells and the key, where two protocols differ.

    All that a protocol says must agree: corpus and its tokens, window, scoring, dtype, engine.
    """
    if first.cell.model != second.cell.model:
        raise MeltpointError(
            f"{first.name} and {second.name} cannot be compared: pairs are made within a model"
        )
    if difference := protocol_difference(first.cell, second.cell):
        raise MeltpointError(
            f"{first.name} and {second.name} cannot be compared: the key {difference} of their "
            "protocols"
        )
    if first.scores.shape[1] != second.scores.shape[1]:
        raise MeltpointError(
            f"{first.name} and {second.name} cannot be compared: one has {first.scores.shape[1]} "
            f"{units_of([first])} and the other {second.scores.shape[1]}"
        )


def protocol_difference(first: Cell, second: Cell) -> str:
    """The first key that differs with both values ("engine is 'a' and 'b'"); "" where none does.

    Which score is the main one is no part of how any is measured.
    """
    a, b = ({"kind": cell.kind, **cell.protocol} for cell in (first, second))
    for key in sorted((a.keys() | b.keys()) - {"main"}):
        if a.get(key) != b.get(key):
            return f"{key!r} is {a.get(key)!r} and {b.get(key)!r}"
    return ""


def calibration_of(sample: Sample) -> str:
    """Calibrations of a chain's steps, in words; "" for a chain without any."""
    steps = sample.cell.provenance.get("steps", [])
    windows = [step["settings"].get("windows") for step in steps]
    return "; ".join(dict.fromkeys(words_of(each, sample) for each in windows if each))


def words_of(windows: Mapping, sample: Sample) -> str:
    """A calibration in words."""
    if "corpus" not in windows:
        return f"given windows ({str(windows.get('file'))[:12]})"
    seeds = ", ".join(sample.draws) if len(sample.draws) > 1 else windows["seed"]
    return (
        f"{windows['samples']} windows of {windows['length']} tokens of {windows['corpus']}, "
        f"{windows['sampling']}, seed {seeds}"
    )
