"""Degenerate answers: what a broken model writes, which still gets a score.

A model whose logits are NaN writes token 0 for ever, and scores near chance. The kinds, over the new
tokens of an answer before the end token:

- ``empty``: no token, or white space alone
- ``constant``: one token again and again, 8 times at the least
- ``non_finite``: the logits of a token were NaN or infinite
- ``looping``: the last 64 tokens have a period of 16 at the most, or rep-4 exceeds one half
- ``cut``: the answer ran to the limit of new tokens

The share of each stands beside the score. Where empty, constant and non-finite answers together are
more than `refuse_above` of all, the score is refused; loops and cuts are only reported.

rep-n is 1 - distinct n-grams / n-grams of an answer (Welleck et al., arXiv 1908.04319).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from meltpoint.evaluations._means import mean_of_units
from meltpoint.evaluations.contract import Estimate, EvaluationSettings, ScoreSpec

KINDS = ("empty", "constant", "non_finite", "looping", "cut")
REFUSED = frozenset(("empty", "constant", "non_finite"))
SHORTEST_CONSTANT = 8
LOOP_TOKENS, LONGEST_PERIOD = 64, 16
MOST_REPEATED = 0.5
# Characters of the example in a refusal's reason.
EXAMPLE = 40

scores = tuple(
    ScoreSpec(f"degenerate.{kind}", "fraction", "lower", f"{kind.replace('_', '-')} answers")
    for kind in KINDS
)


class RefusingSettings(EvaluationSettings):
    """Settings of an evaluation that generates answers."""

    refuse_above: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of empty, constant and non-finite answers above which a score is refused.",
    )


def kinds_of(
    tokens: Sequence[int],
    text: str,
    *,
    end: frozenset[int] = frozenset(),
    limit: int | None = None,
    finite: bool = True,
) -> list[str]:
    """The names in `KINDS` that apply to an answer; empty for an ordinary answer.

    tokens: the new tokens, with the end token if it was written. text: the answer's text. end: end
    tokens. limit: the allowed number of new tokens. finite: whether all logits were finite.
    """
    written = list(tokens[:-1] if tokens and tokens[-1] in end else tokens)
    ran_on = len(written) == len(tokens)
    tests = {
        "empty": not written or not text.strip(),
        "constant": len(written) >= SHORTEST_CONSTANT and len(set(written)) == 1,
        "non_finite": not finite,
        "looping": is_loop(written) or repeated(written) > MOST_REPEATED,
        "cut": limit is not None and ran_on and len(written) >= limit,
    }
    return [kind for kind, applies in tests.items() if applies]


def is_loop(tokens: Sequence[int]) -> bool:
    """True if the last `LOOP_TOKENS` tokens repeat with a period of at most `LONGEST_PERIOD`."""
    if len(tokens) < LOOP_TOKENS:
        return False
    last = tokens[-LOOP_TOKENS:]
    return any(last[period:] == last[:-period] for period in range(1, LONGEST_PERIOD + 1))


def repeated(tokens: Sequence[int], n: int = 4) -> float:
    """rep-n of an answer, 0 to 1; 0 for an answer of fewer than n tokens."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def shares(samples: Sequence[Mapping]) -> dict[str, float]:
    """Share of each kind among samples; a sample lists its kinds under `degenerate`."""
    return {
        kind: sum(kind in sample["degenerate"] for sample in samples) / len(samples)
        for kind in KINDS
    }


def share_estimates(samples: Sequence[Mapping]) -> dict[str, Estimate]:
    """The share of each kind among samples as a score, `degenerate.looping` for example."""
    return {
        f"degenerate.{kind}": mean_of_units([kind in sample["degenerate"] for sample in samples])
        for kind in KINDS
    }


def refusal(samples: Sequence[Mapping], refuse_above: float) -> str | None:
    """The reason why the score of samples is refused, with an example; None if it is not refused.

    samples: each lists its kinds under `degenerate`, and has the answer as `text`.
    """
    bad = [sample for sample in samples if REFUSED & set(sample["degenerate"])]
    share = len(bad) / len(samples)
    if share <= refuse_above:
        return None
    parts = [f"{kind} {s:.0%}" for kind, s in shares(samples).items() if kind in REFUSED and s]
    example = bad[0]["text"]
    shown = f"{example[:EXAMPLE]!r}{'...' if len(example) > EXAMPLE else ''}"
    return (
        f"{share:.0%} of {len(samples)} answers are degenerate ({', '.join(parts)}), more than "
        f"refuse_above = {refuse_above:g}; for example {shown}"
    )
