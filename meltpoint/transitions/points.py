"""The points of a curve, from the tidy frame."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from meltpoint.evaluations.contract import PERPLEXITY


@dataclass(frozen=True)
class Points:
    """The points of one curve: sparsity (ascending), log perplexity, relative weight, dense ppl."""

    s: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    dense: float | None
    left_out: tuple[str, ...] = ()


def sweeps(frame: pd.DataFrame) -> pd.DataFrame:
    """The perplexities at a numeric sparsity, those that are not applicable or refused too."""
    numeric = pd.to_numeric(frame["level"], errors="coerce").notna()
    return frame[numeric & (frame["score"] == PERPLEXITY) & (frame["chain"] != "dense")]


def dense_of(frame: pd.DataFrame, cells: pd.DataFrame) -> float | None:
    """The dense perplexity of the model and evaluation of the cells, if it is known."""
    like = cells.iloc[0]
    keys = ("model", "evaluation", "score")
    same = np.logical_and.reduce([frame[key] == like[key] for key in keys])
    values = frame.loc[same & (frame["chain"] == "dense"), "value"]
    return float(values.iloc[0]) if len(values) and np.isfinite(values.iloc[0]) else None


def points_of(cells: pd.DataFrame, dense: float | None = None) -> Points:
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
    )


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
