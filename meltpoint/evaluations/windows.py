"""A corpus's tokens as windows that do not overlap, and the error of a mean over them."""

from __future__ import annotations

import math

from meltpoint.checkpoints.formats import holds_gguf
from meltpoint.checkpoints.positions import positions_of
from meltpoint.compute import overflow
from meltpoint.errors import MeltpointError, at
from meltpoint.evaluations.contract import Inputs
from meltpoint.lazy_import import numpy as np


def read_windows(inputs: Inputs, window: int, windows: int | None = None) -> np.ndarray:
    """The windows of the evaluation's corpus, int32 [windows, window].

    Raises MeltpointError for tokens without an embedding in the model, for too few tokens, and for
    windows that are longer than the model has positions.
    """
    from meltpoint.data.corpora import check_vocabulary, read_tokens
    from meltpoint.data.tokenization import vocabulary_of

    stream = read_tokens(inputs.tokens, dimensions=1)
    check_vocabulary(stream, vocabulary_of(inputs.checkpoint), str(inputs.tokens))
    if positions := positions_of(inputs.checkpoint):
        at(f"{inputs.key}.window", positions.check, window)
    return at(inputs.key, cut, stream, window, windows)


def warnings_of(inputs: Inputs, window: int) -> list[str]:
    """Warnings for windows that are longer than the context with which the model was trained."""
    positions = positions_of(inputs.checkpoint)
    return positions.warnings(window) if positions else []


def overflow_warnings(inputs: Inputs, windows: np.ndarray, nll: np.ndarray) -> list[str]:
    """Warnings for losses that are not finite; they name the model's first part that makes them.

    windows: tokens [windows, window]. nll: float32 [windows, window - 1].
    """
    bad = ~np.isfinite(nll)
    if not bad.any():
        return []
    losses = f"{bad.sum():,} of {bad.size:,} losses"
    if holds_gguf(inputs.checkpoint):
        return [f"{losses} are not finite in llama.cpp"]
    from meltpoint.lazy_import import torch
    from meltpoint.model.overflow import first_overflow

    worst = torch.from_numpy(windows[bad.any(axis=1)][:1]).long()
    place = first_overflow(inputs.checkpoint, worst, inputs.compute)
    return [overflow(losses, place, inputs.compute.dtype)]


def cut(tokens: np.ndarray, window: int, windows: int | None = None) -> np.ndarray:
    """The first windows that do not overlap, [windows, window]; remaining tokens are dropped.

    Raises MeltpointError for fewer than two windows, which a standard error needs.
    """
    count = min(len(tokens) // window, windows or len(tokens))
    if count < 2:
        raise MeltpointError(
            f"the corpus has {len(tokens)} tokens: two windows of {window} are needed at the least: "
            "use a smaller window, or a longer text"
        )
    return tokens[: count * window].reshape(count, window)


def error_of_mean(values: np.ndarray) -> float:
    """The standard error of the mean of values [units]; NaN if a value is not finite."""
    with np.errstate(invalid="ignore"):
        return float(values.std(ddof=1) / math.sqrt(len(values)))
