"""Perplexity over non-overlapping windows, as the pruning literature has it.

The corpus's tokens are cut into windows, the rest dropped; in each window every token but the first
is predicted; perplexity is exp of the mean over windows of the window's mean negative log
likelihood.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meltpoint.compute import Compute
from meltpoint.data.corpora import check_vocabulary, read_tokens, write_array
from meltpoint.data.tokenization import first_token, vocabulary_of
from meltpoint.errors import MeltpointError, NotApplicable, at
from meltpoint.evaluations.cells import skipped, write_cell, write_not_applicable
from meltpoint.evaluations.engines import open_engine
from meltpoint.hashing import hash_file


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    stderr: float


def measure(
    checkpoint: Path,
    tokens: Path,
    dense_nll: Path | None,
    cell: Path,
    nll: Path,
    recipe: dict,
    compute: Compute,
) -> None:
    """Writes a checkpoint's perplexity cell, and beside it the NLL of every token.

    `dense_nll` is the same file of the dense model, None for that model itself. Raises
    MeltpointError for tokens that the model has no embedding for, or too few of them.
    """
    nothing = np.empty((0, recipe["protocol"]["window"] - 1), dtype=np.float32)
    if skipped(checkpoint, cell, recipe):
        write_array(nll, nothing)
        return
    try:
        _measure(checkpoint, tokens, dense_nll, cell, nll, recipe, compute)
    except NotApplicable as reason:
        write_not_applicable(cell, checkpoint, recipe, str(reason))
        write_array(nll, nothing)


def _measure(checkpoint: Path, tokens: Path, dense_nll, cell, nll, recipe: dict, compute) -> None:
    start = time.perf_counter()
    stream = read_tokens(tokens, dimensions=1)
    check_vocabulary(stream, vocabulary_of(checkpoint), str(tokens))
    window, count = recipe["protocol"]["window"], recipe["protocol"]["windows"]
    windows = at(f"evaluations.{recipe['cell']['evaluation']}", cut, stream, window, count)
    scoring = SCORINGS[recipe["protocol"]["scoring"]]
    windows = scoring.begin(windows, checkpoint)
    with open_engine(checkpoint, compute) as engine:
        losses = engine.nll(windows)
    write_array(nll, losses)
    scored = scoring.scored(losses)
    result = scoring.estimate(scored)
    paired = Estimate(0.0, 0.0)
    if dense_nll:
        paired = difference(scored, scoring.scored(np.load(dense_nll)))
    said = {"windows": len(windows), "tokens_hash": hash_file(tokens), "engine": engine.name}
    protocol = {**recipe["protocol"], **said}
    write_cell(
        cell,
        checkpoint,
        {**recipe, "protocol": protocol},
        start,
        metric=scoring.metric,
        unit="per token",
        value=result.value,
        stderr=result.stderr,
        difference={"value": paired.value, "stderr": paired.stderr},
    )


def cut(tokens: np.ndarray, window: int, windows: int | None = None) -> np.ndarray:
    """Non-overlapping windows, [windows, window]; the rest is dropped.

    Raises MeltpointError where there are not two, which a standard error needs.
    """
    count = min(len(tokens) // window, windows or len(tokens))
    if count < 2:
        raise MeltpointError(
            f"the corpus has {len(tokens)} tokens: two windows of {window} are needed at the least: "
            "use a smaller window, or a longer text"
        )
    return tokens[: count * window].reshape(count, window)


def begin_with_first_token(windows: np.ndarray, checkpoint: Path) -> np.ndarray:
    """The windows with the tokenizer's first token in the place of their own, where it has one."""
    first = first_token(checkpoint)
    return (
        windows
        if first is None
        else np.concatenate([0 * windows[:, :1] + first, windows[:, 1:]], 1)
    )


def second_half(nll: np.ndarray) -> np.ndarray:
    """Of [windows, window - 1] the tokens that llama.cpp scores: half a window is before them."""
    return nll[:, (nll.shape[1] + 1) // 2 :]


def llama_perplexity(nll: np.ndarray) -> Estimate:
    """Perplexity and ± as llama.cpp's `llama-perplexity` prints them: over tokens, not windows."""
    losses = nll.astype(np.float64)
    value = _exp(losses.mean())
    with np.errstate(invalid="ignore"):
        return Estimate(value, value * float(losses.std() / math.sqrt(losses.size - 1)))


def perplexity(nll: np.ndarray) -> Estimate:
    """Perplexity and its standard error, from [windows, predicted tokens].

    The error is that of the mean over windows, through the exponential (delta method). Either may
    be infinite or NaN where the model's probabilities are.
    """
    means = nll.astype(np.float64).mean(axis=1)
    value = _exp(means.mean())
    return Estimate(value, value * _error_of_mean(means))


def difference(nll: np.ndarray, dense: np.ndarray) -> Estimate:
    """The difference of two perplexities on the same windows and its paired standard error.

    By the delta method the error is that of the mean over windows of ``ppl m_w - ppl' m'_w``. Raises
    MeltpointError where the windows are not the same.
    """
    if nll.shape != dense.shape:
        raise MeltpointError(
            f"the windows are {nll.shape[0]} of {nll.shape[1] + 1} tokens, those of the dense model "
            f"{dense.shape[0]} of {dense.shape[1] + 1}: they cannot be paired"
        )
    means, dense_means = (x.astype(np.float64).mean(axis=1) for x in (nll, dense))
    value, base = _exp(means.mean()), _exp(dense_means.mean())
    with np.errstate(invalid="ignore"):
        return Estimate(value - base, _error_of_mean(value * means - base * dense_means))


def _error_of_mean(values: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(values.std(ddof=1) / math.sqrt(len(values)))


def _exp(mean: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(mean))


@dataclass(frozen=True)
class Scoring:
    """How perplexity is taken from the losses of windows.

    `begin` readies the windows of a checkpoint, `scored` picks the losses that count, and `estimate`
    makes the perplexity of them, which the cell calls `metric`.
    """

    metric: str
    begin: Callable[[np.ndarray, Path], np.ndarray]
    scored: Callable[[np.ndarray], np.ndarray]
    estimate: Callable[[np.ndarray], Estimate]


SCORINGS = {
    "all": Scoring("perplexity", lambda windows, _: windows, lambda nll: nll, perplexity),
    "llama.cpp": Scoring(
        "perplexity (llama.cpp)", begin_with_first_token, second_half, llama_perplexity
    ),
}
