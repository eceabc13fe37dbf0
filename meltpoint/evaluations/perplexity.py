"""Perplexity: how well a model predicts a text, over windows as the pruning literature has them.

The corpus's tokens are cut into windows that do not overlap, and the rest is dropped. In each
window every token but the first is predicted. `perplexity` is exp of the mean over windows of the
window's mean negative log likelihood. `bits_per_byte` is the sum of the same likelihoods in bits
over the bytes of text that the predicted tokens stand for, so that models with different tokenizers
can be compared.

The other scores compare each prediction with the dense model's, over the whole vocabulary. `kl` is
the mean over tokens of the Kullback-Leibler divergence of the model's next-token distribution from
the dense one's, in nats; `kl_p99` and `kl_p999` are quantiles of it over all tokens, and
`kl_reverse` is the mean in the other direction. `top1_agreement` is the share of tokens where both
find the same token the most probable. `probability_rms` is the root of the mean squared change of
the true token's probability. All of these scores are computed from the dense model's final hidden
states, which are kept in `{evaluation}.hidden.npy` next to its cell. You may delete that file: a
chain that is measured later makes it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.evaluations import _fidelity
from meltpoint.evaluations.contract import (
    Estimate,
    EvaluationSettings,
    Inputs,
    Kept,
    Measurement,
    Needs,
    ScoreSpec,
)
from meltpoint.evaluations.windows import (
    cut,
    error_of_mean,
    overflow_warnings,
    read_windows,
    warnings_of,
)
from meltpoint.hashing import hash_file
from meltpoint.lazy_import import numpy as np

if TYPE_CHECKING:
    from meltpoint.evaluations._divergence import Divergence
    from meltpoint.evaluations.engines._engine import Engine

NLL, HIDDEN = "nll.npy", "hidden.npy"
keeps = (NLL, *_fidelity.keeps)
example = {"perplexity": "wikitext2-test", "window": 2048}


class Settings(EvaluationSettings):
    """Perplexity over the non-overlapping windows of a corpus."""

    perplexity: str = Field(description="One of the study's corpora.")
    window: int = Field(ge=2, description="Number of tokens of a window.")
    windows: int | None = Field(
        None, ge=2, description="Number of windows, the first of the corpus. Default: all."
    )
    scoring: Literal["all", "llama.cpp"] = Field(
        "all",
        description="Tokens that are scored: `all` predicted ones, as the pruning and quantization "
        "papers have it, or those that `llama.cpp` scores. That program begins each window with the "
        "beginning-of-text token, scores its second half, and has its own ±. The two are never to be "
        "compared, so each has a column of its own.",
    )
    fidelity: bool = Field(
        True,
        description="Whether each prediction is compared with the dense model's: the scores `kl` to "
        "`probability_rms`. Its head is applied again for that.",
    )


def scores(settings: Settings) -> tuple[ScoreSpec, ...]:
    """The scores, which name llama.cpp where it is its way to score."""
    by_llama = "" if settings.scoring == "all" else f" ({settings.scoring})"
    return (
        ScoreSpec("perplexity", "per token", "lower", f"perplexity{by_llama}"),
        ScoreSpec("bits_per_byte", "bits", "lower", f"bits per byte{by_llama}"),
        *(_fidelity.scores(by_llama) if settings.fidelity else ()),
    )


def needs(settings: Settings) -> Needs:
    """The corpus's tokens; the dense model and its hidden states, if they are compared with."""
    return Needs(
        tokens=settings.perplexity,
        dense_checkpoint=settings.fidelity,
        dense_files=(HIDDEN,) if settings.fidelity else (),
    )


def measure(engine: Engine, inputs: Inputs, settings: Settings) -> Measurement:
    """Negative log likelihoods of the tokens of each window, float32 [windows, window - 1].

    Beside them is how far the scored predictions are from the dense model's. Raises MeltpointError for
    tokens that the model has no embedding for, or too few of them.
    """
    windows = windows_of(inputs, settings)
    protocol = {"windows": len(windows), "tokens_hash": hash_file(inputs.tokens)}
    divergence = divergence_of(engine, inputs, windows)
    nll = engine.nll(windows, divergence)
    kept = {NLL: nll}
    if divergence is not None:
        kept |= divergence.kept(SCORINGS[settings.scoring].scored)
    elif settings.fidelity and not inputs.compared:
        kept |= _fidelity.of_dense(*SCORINGS[settings.scoring].scored(nll).shape)
    return Measurement(
        kept=kept,
        protocol={**protocol, **engine.provenance},
        warnings=[
            *warnings_of(inputs, settings.window),
            *overflow_warnings(inputs, windows, nll),
        ],
    )


def windows_of(inputs: Inputs, settings: Settings) -> np.ndarray:
    """Windows as they are measured, int32 [windows, window]."""
    windows = read_windows(inputs, settings.window, settings.windows)
    return SCORINGS[settings.scoring].begin(windows, inputs.checkpoint)


def divergence_of(engine: Engine, inputs: Inputs, windows: np.ndarray) -> Divergence | None:
    """Observer that compares the model's predictions with the dense model's.

    There is none for the dense model, nor where that has no cell or another vocabulary.
    """
    if not inputs.dense_files:
        return None
    from meltpoint.evaluations._divergence import Divergence
    from meltpoint.model.head import Head

    head = Head(inputs.dense_checkpoint, inputs.compute)
    if head.vocabulary != engine.vocabulary:
        return None
    return Divergence(inputs.dense_files[HIDDEN], head, windows, inputs.compute)


def dense_vectors(settings: Settings, tokens: int | None) -> int | None:
    """Number of hidden states that are kept of the dense model; None where it is not known."""
    if tokens is None:
        return settings.windows and settings.windows * (settings.window - 1)
    windows = min(tokens // settings.window, settings.windows or tokens)
    return windows * (settings.window - 1)


def write_dense(
    engine: Engine, inputs: Inputs, settings: Settings, ending: str, path: Path
) -> None:
    """Writes the final hidden states of the dense model."""
    from meltpoint.evaluations._divergence import write_hidden

    write_hidden(path, engine, windows_of(inputs, settings))


def estimate(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """The scores that follow from what is kept of the windows' tokens."""
    fidelity = _fidelity.estimate(kept) if settings.fidelity else {}
    return {**likelihood_scores(kept, inputs, settings), **fidelity}


def likelihood_scores(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """The scores that follow from the likelihoods of the windows' tokens."""
    scoring = SCORINGS[settings.scoring]
    scored = scoring.scored(kept[NLL])
    ends = np.load(inputs.token_ends)
    if not len(ends):
        nothing = "the bytes of the corpus's text are not known: it is given as tokens"
        return {"perplexity": scoring.estimate(scored), "bits_per_byte": Estimate(refused=nothing)}
    lengths = byte_lengths(cut(ends, settings.window, settings.windows), scored.shape[1])
    return {
        "perplexity": scoring.estimate(scored),
        "bits_per_byte": bits_per_byte(scored, lengths),
    }


# --- estimates ---------------------------------------------------------------------------------------


def perplexity(nll: np.ndarray) -> Estimate:
    """Perplexity and its standard error, from [windows, predicted tokens].

    The error is that of the mean over windows, through the exponential (delta method). Either may
    be infinite or NaN where the model's probabilities are.
    """
    means = nll.astype(np.float64).mean(axis=1)
    value = _exp(means.mean())
    with np.errstate(invalid="ignore"):
        return Estimate(value, value * error_of_mean(means), units=value * means)


def llama_perplexity(nll: np.ndarray) -> Estimate:
    """Perplexity and ± as llama.cpp's `llama-perplexity` prints them: over tokens, not windows."""
    losses = nll.astype(np.float64)
    value = _exp(losses.mean())
    with np.errstate(invalid="ignore"):
        stderr = value * float(losses.std() / math.sqrt(losses.size - 1))
        return Estimate(value, stderr, units=value * losses.mean(axis=1))


def bits_per_byte(nll: np.ndarray, lengths: np.ndarray) -> Estimate:
    """Bits per byte of text and its standard error, from [windows, predicted tokens].

    lengths: the bytes of each window's predicted tokens, [windows]. The value is a ratio of two means
    over windows; its error is that of the mean of ``bits_w - value bytes_w`` over the mean of the bytes
    (delta method).
    """
    bits = nll.astype(np.float64).sum(axis=1) / math.log(2)
    mean = lengths.mean()
    if not mean:
        return Estimate(refused="the scored tokens stand for no text")
    value = float(bits.mean() / mean)
    with np.errstate(invalid="ignore"):
        units = (bits - value * lengths) / mean
        return Estimate(value, error_of_mean(units), units=units)


def byte_lengths(ends: np.ndarray, scored: int) -> np.ndarray:
    """Bytes of the last `scored` tokens of each window, [windows].

    ends: the byte at which each token of a window ends, [windows, window].
    """
    return (ends[:, -1] - ends[:, -1 - scored]).astype(np.float64)


def _exp(mean: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(mean))


# --- scorings ----------------------------------------------------------------------------------------


def begin_with_first_token(windows: np.ndarray, checkpoint: Path) -> np.ndarray:
    """The windows with the tokenizer's first token in the place of their own, where it has one."""
    from meltpoint.data.tokenization import first_token

    first = first_token(checkpoint)
    if first is None:
        return windows
    return np.concatenate([np.full_like(windows[:, :1], first), windows[:, 1:]], axis=1)


def second_half(nll: np.ndarray) -> np.ndarray:
    """Of [windows, window - 1] the tokens that llama.cpp scores: half a window is before them."""
    return nll[:, (nll.shape[1] + 1) // 2 :]


@dataclass(frozen=True)
class Scoring:
    """How perplexity is taken from the losses of windows.

    `begin` readies the windows of a checkpoint, `scored` picks the losses that count, and `estimate`
    makes the perplexity of them.
    """

    begin: Callable[[np.ndarray, Path], np.ndarray]
    scored: Callable[[np.ndarray], np.ndarray]
    estimate: Callable[[np.ndarray], Estimate]


SCORINGS = {
    "all": Scoring(lambda windows, _: windows, lambda nll: nll, perplexity),
    "llama.cpp": Scoring(begin_with_first_token, second_half, llama_perplexity),
}
