"""The scores of `generation` that are computed from its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meltpoint.evaluations import _degenerate
from meltpoint.evaluations._generation import open_ended
from meltpoint.evaluations._means import mean_of_known
from meltpoint.evaluations.contract import Estimate
from meltpoint.lazy_import import numpy as np

Sample = Mapping[str, Any]


def estimates(
    samples: Sequence[Sample], settings: Any, names: Sequence[str]
) -> dict[str, Estimate]:
    """All scores by name, except for the speeds and MAUVE.

    names: the task's scores. A strategy's scores are refused if too many of its own texts are
    degenerate. Units are prompts: a unit is the mean over the seeds.
    """
    found: dict[str, Estimate] = {}
    for strategy in settings.parsed:
        chosen = [each for each in samples if each["strategy"] == strategy.spelled]
        not_applicable = chosen[0].get("refused")
        reason = not_applicable or _degenerate.refusal(chosen, settings.refuse_above)
        spread = ["spread"] if len(settings.seeds_of(strategy)) > 1 else []
        if reason is not None:
            # MAUVE is not computed from samples, but is refused together with the scores that are.
            measured = ["mauve"] if settings.mauve else []
            scores = dict.fromkeys([*names, *spread, *measured], Estimate(refused=reason))
        else:
            scores = {name: _score(name, chosen) for name in names}
            scores |= {name: _spread(names[0], chosen) for name in spread}
        shares = _degenerate.share_estimates(chosen)
        if not_applicable:
            shares = dict.fromkeys(shares, Estimate(refused=not_applicable))
        scores |= shares
        found |= {f"{strategy.spelled}.{name}": score for name, score in scores.items()}
    return found


def _score(name: str, samples: Sequence[Sample]) -> Estimate:
    by_prompt: dict[int, list[Sample]] = {}
    for sample in samples:
        by_prompt.setdefault(sample["prompt"], []).append(sample)
    if name in ("rep_4", "diversity"):
        texts = [[sample["text"] for sample in each] for each in by_prompt.values()]
        return open_ended.repetition(texts, 4) if name == "rep_4" else open_ended.diversity(texts)
    verdicts = (
        [float(s[name]) for s in each if s[name] is not None] for each in by_prompt.values()
    )
    means = [float(np.mean(each)) if each else None for each in verdicts]
    if means.count(None) == len(means):
        return Estimate(refused="no text has a token")
    return mean_of_known(means)


def _spread(name: str, samples: Sequence[Sample]) -> Estimate:
    """Standard deviation of a score over the seeds; refused if the score of one seed is."""
    seeds = dict.fromkeys(sample["seed"] for sample in samples)
    scores = [_score(name, [each for each in samples if each["seed"] == seed]) for seed in seeds]
    refused = [score for score in scores if score.refused is not None]
    return refused[0] if refused else Estimate(float(np.std([s.value for s in scores], ddof=1)))
