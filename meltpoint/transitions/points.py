"""The points of a curve, from the tidy frame."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from meltpoint.analysis.samples import Sample, check_comparable
from meltpoint.evaluations.contract import PERPLEXITY


@dataclass(frozen=True)
class Points:
    """The points of one curve: sparsity (ascending), log perplexity, relative weight, dense ppl.

    losses: log perplexity window by window, float64 [levels, windows], and that of dense [windows];
    None where they are not known.
    """

    s: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    dense: float | None
    left_out: tuple[str, ...] = ()
    losses: np.ndarray | None = None
    dense_losses: np.ndarray | None = None


def sweeps(frame: pd.DataFrame) -> pd.DataFrame:
    """The perplexities at a numeric sparsity, those that are not applicable or refused too."""
    numeric = pd.to_numeric(frame["level"], errors="coerce").notna()
    return frame[numeric & (frame["score"] == PERPLEXITY) & (frame["chain"] != "dense")]


def dense_of(frame: pd.DataFrame, cells: pd.DataFrame) -> float | None:
    """The dense perplexity of the model and evaluation of the cells, if it is known."""
    values = dense_cells_of(frame, cells)["value"]
    return float(values.iloc[0]) if len(values) and np.isfinite(values.iloc[0]) else None


def dense_cells_of(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The dense rows of the model and evaluation of the cells."""
    like = cells.iloc[0]
    keys = ("model", "evaluation", "score")
    same = np.logical_and.reduce([frame[key] == like[key] for key in keys])
    return frame[same & (frame["chain"] == "dense")]


def losses_of(cells: pd.DataFrame) -> np.ndarray | None:
    """Log perplexity of cells window by window, float64 [cells, windows]; None where one has no sample.

    Raises MeltpointError, naming two cells, where they were not measured alike.
    """
    samples = list(cells["sample"]) if "sample" in cells else []
    if not samples or not all(isinstance(sample, Sample) for sample in samples):
        return None
    for sample in samples[1:]:
        check_comparable(samples[0], sample)
    scores = np.stack([sample.scores[0] for sample in samples])
    values = scores.mean(axis=1, keepdims=True)
    return np.log(values) + scores / values - 1


def points_of(
    cells: pd.DataFrame, dense: float | None = None, dense_cells: pd.DataFrame | None = None
) -> Points:
    """The finite points of a curve, and the levels left out with what stands there."""
    cells = cells.assign(s=cells["level"].astype(float)).sort_values("s")
    usable = np.isfinite(cells["value"]) & (cells["value"] > 0) & (cells["status"] == "ok")
    kept, left = cells[usable], cells[~usable]
    why = left["value"].map("{:g}".format)
    why = why.where(left["status"] == "ok", left["status"].str.replace("_", " "))
    return Points(
        kept["s"].to_numpy(),
        np.log(kept["value"].to_numpy(float)),
        weigh((kept["stderr"] / kept["value"]).to_numpy(float)),
        dense,
        tuple(f"{s:g} ({reason})" for s, reason in zip(left["s"], why, strict=True)),
        **_losses(kept, dense_cells),
    )


def _losses(kept: pd.DataFrame, dense_cells: pd.DataFrame | None) -> dict[str, np.ndarray | None]:
    if dense_cells is None or dense_cells.empty:
        return {"losses": losses_of(kept)}
    together = losses_of(pd.concat([kept, dense_cells]))
    if together is None:
        return {}
    return {"losses": together[:-1], "dense_losses": together[-1]}


def weigh(errors: np.ndarray) -> np.ndarray:
    """Relative weights from standard errors of log perplexity, equal where there are none.

    Sampling noise is only part of a residual, the rest being what the form misses: the median
    error is added to each, so that no single exact point rules the fit.
    """
    known = errors[np.isfinite(errors)]
    if not len(known) or not np.median(known):
        return np.ones(len(errors))
    median = np.median(known)
    weights = 1 / (np.where(np.isfinite(errors), errors, median) ** 2 + median**2)
    return weights / weights.mean()
