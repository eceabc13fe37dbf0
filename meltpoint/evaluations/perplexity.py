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
    """Specs of the scores. Their labels name llama.cpp if the settings score as it does."""
    by_llama = "" if settings.scoring == "all" else f" ({settings.scoring})"
    return (
        ScoreSpec("perplexity", "per token", "lower", f"perplexity{by_llama}"),
        ScoreSpec("bits_per_byte", "bits", "lower", f"bits per byte{by_llama}"),
        *(_fidelity.scores(by_llama) if settings.fidelity else ()),
    )


def needs(settings: Settings) -> Needs:
    """The corpus's tokens and, with `fidelity`, the dense model and its hidden states."""
    return Needs(
        tokens=settings.perplexity,
        dense_checkpoint=settings.fidelity,
        dense_files=(HIDDEN,) if settings.fidelity else (),
    )


def measure(engine: Engine, inputs: Inputs, settings: Settings) -> Measurement:
    """Measures negative log likelihoods in nats, kept as float32 [windows, window - 1].

    For a chain the comparison of its predictions with the dense model's is kept too. Raises
    MeltpointError for tokens without an embedding in the model, and for too few tokens.
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
    """The windows that the model reads, int32 [windows, window]."""
    windows = read_windows(inputs, settings.window, settings.windows)
    return SCORINGS[settings.scoring].begin(windows, inputs.checkpoint)


def divergence_of(engine: Engine, inputs: Inputs, windows: np.ndarray) -> Divergence | None:
    """Observer that compares the model's predictions with the dense model's, or None.

    It is None for the dense model itself, if the dense model has no cell, and if the two vocabularies
    differ.
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
    """Number of the dense model's hidden states that are kept for a corpus of so many tokens.

    None if it depends on `tokens` and that is None.
    """
    if tokens is None:
        return settings.windows and settings.windows * (settings.window - 1)
    windows = min(tokens // settings.window, settings.windows or tokens)
    return windows * (settings.window - 1)


def write_dense(
    engine: Engine, inputs: Inputs, settings: Settings, ending: str, path: Path
) -> None:
    """Writes the dense model's final hidden states on all windows to `path`."""
    from meltpoint.evaluations._divergence import write_hidden

    write_hidden(path, engine, windows_of(inputs, settings))


def estimate(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """All scores by name, computed from the arrays that are kept beside a cell."""
    fidelity = _fidelity.estimate(kept) if settings.fidelity else {}
    return {**likelihood_scores(kept, inputs, settings), **fidelity}


def likelihood_scores(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """`perplexity` and `bits_per_byte`, computed from the kept likelihoods.

    `bits_per_byte` is refused for a corpus that is given as tokens.
    """
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
    """Perplexity and its standard error, from losses in nats [windows, predicted tokens].

    The standard error of the mean over windows is taken through the exponential (delta method). Value
    and error are infinite or NaN where the losses are.
    """
    means = nll.astype(np.float64).mean(axis=1)
    value = _exp(means.mean())
    with np.errstate(invalid="ignore"):
        return Estimate(value, value * error_of_mean(means), units=value * means)


def llama_perplexity(nll: np.ndarray) -> Estimate:
    """Perplexity and ± as `llama-perplexity` of llama.cpp prints them, from [windows, tokens].

    Its ± takes each token as independent of the others, where `perplexity` takes each window.
    """
    losses = nll.astype(np.float64)
    value = _exp(losses.mean())
    with np.errstate(invalid="ignore"):
        stderr = value * float(losses.std() / math.sqrt(losses.size - 1))
        return Estimate(value, stderr, units=value * losses.mean(axis=1))


def bits_per_byte(nll: np.ndarray, lengths: np.ndarray) -> Estimate:
    """Bits per byte of text and its standard error, from losses in nats [windows, predicted tokens].

    lengths: the bytes of each window's predicted tokens, [windows]. The value is a ratio of two means
    over windows. Its error is the standard error of the mean of ``bits_w - value bytes_w``, divided by
    the mean number of bytes (delta method). The score is refused if the tokens stand for no text.
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
    """Number of bytes of the last `scored` tokens of each window, float64 [windows].

    ends: the byte of the text at which each token ends, [windows, window].
    """
    return (ends[:, -1] - ends[:, -1 - scored]).astype(np.float64)


def _exp(mean: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(mean))


# --- scorings ----------------------------------------------------------------------------------------


def begin_with_first_token(windows: np.ndarray, checkpoint: Path) -> np.ndarray:
    """A copy of the windows whose first token is the tokenizer's beginning-of-text token.

    The windows themselves if the tokenizer has none.
    """
    from meltpoint.data.tokenization import first_token

    first = first_token(checkpoint)
    if first is None:
        return windows
    return np.concatenate([np.full_like(windows[:, :1], first), windows[:, 1:]], axis=1)


def second_half(nll: np.ndarray) -> np.ndarray:
    """Losses of the tokens that llama.cpp scores: the second half of [windows, window - 1]."""
    return nll[:, (nll.shape[1] + 1) // 2 :]


@dataclass(frozen=True)
class Scoring:
    """A way to score windows: three functions that lead from windows to a perplexity.

    `begin` prepares the windows for a checkpoint. `scored` picks the losses that count out of
    [windows, window - 1]. `estimate` computes the perplexity from these.
    """

    begin: Callable[[np.ndarray, Path], np.ndarray]
    scored: Callable[[np.ndarray], np.ndarray]
    estimate: Callable[[np.ndarray], Estimate]


SCORINGS = {
    "all": Scoring(lambda windows, _: windows, lambda nll: nll, perplexity),
    "llama.cpp": Scoring(begin_with_first_token, second_half, llama_perplexity),
}
