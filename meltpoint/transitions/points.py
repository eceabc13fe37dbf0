"""The points of a curve, from the tidy frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from meltpoint.analysis.samples import Sample, check_comparable
from meltpoint.evaluations.contract import PERPLEXITY
from meltpoint.transitions.scales import LogScale, Scale, ShareScale, scale_of


@dataclass(frozen=True)
class Points:
    """The points of one curve: sparsity (ascending), what is fitted, relative weight, dense limit.

    For perplexity that is its logarithm and the dense perplexity; `scale` says what it is for other
    scores. units: the score window by window or document by document, float64 [levels, units], and that
    of dense [units]; their means over any choice of units are what `scale.resampled` reads. None where
    they are not known. no_fit: why the curve cannot be fitted.
    """

    s: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    dense: float | None
    left_out: tuple[str, ...] = ()
    units: np.ndarray | None = None
    dense_units: np.ndarray | None = None
    scale: Scale = field(default_factory=LogScale)
    no_fit: str = ""


def sweeps(frame: pd.DataFrame, scores: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of the scores to fit at a numeric sparsity, including not applicable and refused ones.

    The scores are all perplexities, and `scores`, each `evaluation.score`.
    """
    numeric = pd.to_numeric(frame["level"], errors="coerce").notna()
    names = frame["evaluation"].astype(str) + "." + frame["score"].astype(str)
    fitted = (frame["score"] == PERPLEXITY) | names.isin(scores)
    return frame[numeric & fitted & (frame["chain"] != "dense")]


def dense_of(frame: pd.DataFrame, cells: pd.DataFrame) -> float | None:
    """The dense value of the model, evaluation and score of the cells, if it is known."""
    values = dense_cells_of(frame, cells)["value"]
    return float(values.iloc[0]) if len(values) and np.isfinite(values.iloc[0]) else None


def dense_cells_of(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The dense rows of the model, evaluation and score of the cells."""
    like = cells.iloc[0]
    keys = ("model", "evaluation", "score")
    same = np.logical_and.reduce([frame[key] == like[key] for key in keys])
    return frame[same & (frame["chain"] == "dense")]


def units_of(cells: pd.DataFrame) -> np.ndarray | None:
    """Scores of cells unit by unit, float64 [cells, units]; None where one has no sample.

    Raises MeltpointError, naming two cells, where they were not measured alike.
    """
    samples = list(cells["sample"]) if "sample" in cells else []
    if not samples or not all(isinstance(sample, Sample) for sample in samples):
        return None
    for sample in samples[1:]:
        check_comparable(samples[0], sample)
    return np.stack([sample.scores[0] for sample in samples])


def points_of(
    cells: pd.DataFrame, dense: float | None = None, dense_cells: pd.DataFrame | None = None
) -> Points:
    """The finite points of a curve, and the levels left out with what stands there."""
    cells = cells.assign(s=cells["level"].astype(float)).sort_values("s")
    floor = floor_of(cells)
    scale = scale_of(cells.iloc[0], np.nan if dense is None else dense, floor)
    usable = scale.usable(cells["value"].to_numpy(float)) & (cells["status"] == "ok")
    kept, left = cells[usable], cells[~usable]
    why = left["value"].map("{:g}".format)
    why = why.where(left["status"] == "ok", left["status"].str.replace("_", " "))
    values, stderrs = (kept[key].to_numpy(float) for key in ("value", "stderr"))
    return Points(
        kept["s"].to_numpy(),
        scale.y(values),
        weigh(scale.errors(values, stderrs)),
        scale.limit(dense),
        tuple(f"{s:g} ({reason})" for s, reason in zip(left["s"], why, strict=True)),
        **_units(kept, dense_cells, scale),
        scale=scale,
        no_fit=advantage(scale, dense_cells),
    )


def floor_of(cells: pd.DataFrame) -> float:
    """Mean of the scores' values at chance; 0 if no sample has one."""
    samples = cells.get("sample", ())
    floors = [sample.floor for sample in samples if isinstance(sample, Sample)]
    return float(np.mean(floors)) if floors else 0.0


def advantage(scale: Scale, dense_cells: pd.DataFrame | None) -> str:
    """Reason why the dense model has no advantage over chance to divide by; "" if it has one."""
    if not isinstance(scale, ShareScale):
        return ""
    if not np.isfinite(scale.dense):
        return "the dense value is not known"
    errors = [] if dense_cells is None else dense_cells["stderr"].dropna()
    # 3.5 errors above chance: the chance of a model that guesses is below one in 4,000.
    least = scale.floor + 3.5 * max(errors, default=0.0)
    if scale.dense > least:
        return ""
    return f"the dense value {scale.dense:.3g} is not above chance, {scale.floor:.3g}"


def _units(
    kept: pd.DataFrame, dense_cells: pd.DataFrame | None, scale: Scale
) -> dict[str, np.ndarray | None]:
    if kept.empty:
        return {}
    if dense_cells is None or dense_cells.empty:
        units = units_of(kept)
        return {} if units is None else {"units": scale.units(units)}
    together = units_of(pd.concat([kept, dense_cells]))
    if together is None:
        return {}
    units = scale.units(together)
    return {"units": units[:-1], "dense_units": units[-1]}


def weigh(errors: np.ndarray) -> np.ndarray:
    """Relative weights from standard errors of log perplexity; equal weights without errors.

    Sampling noise is only a part of a residual, as a form is never exact. The median error is therefore
    added to each, so that a single exact point does not dominate the fit.
    """
    known = errors[np.isfinite(errors)]
    if not len(known) or not np.median(known):
        return np.ones(len(errors))
    median = np.median(known)
    weights = 1 / (np.where(np.isfinite(errors), errors, median) ** 2 + median**2)
    return weights / weights.mean()
