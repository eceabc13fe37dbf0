"""MMLU's samples, each an answer and the letter that it names, and the scores computed from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from meltpoint.evaluations import _degenerate
from meltpoint.evaluations._answers import Generated
from meltpoint.evaluations._means import mean_of, mean_of_units
from meltpoint.evaluations._mmlu.letters import first_capital, first_line, first_option
from meltpoint.evaluations._mmlu.questions import Question
from meltpoint.evaluations.contract import Estimate

EXTRACTORS = {"first_option": first_option, "first_capital": first_capital}

Sample = Mapping[str, Any]


def sample_of(question: Question, answer: Generated, extractor: str, cut: bool) -> Sample:
    """The sample of an answer; with `cut` only the answer's first line is searched for a letter."""
    letter = EXTRACTORS[extractor](first_line(answer.text) if cut else answer.text)
    return {
        "task": question.subject,
        "document": question.document,
        "text": answer.text,
        "tokens": answer.tokens,
        "degenerate": answer.degenerate,
        "letter": letter,
        "acc": float(letter == question.right),
    }


def estimates(
    samples: Sequence[Sample], parts: Mapping[str, Sequence[str]], refuse_above: float
) -> dict[str, Estimate]:
    """All scores of an evaluation by name, computed from its samples.

    parts: for each group or subject that the study names, its subjects. A score is refused if more
    than `refuse_above` of its own answers are degenerate.
    """
    by_subject: dict[str, list[Sample]] = {}
    for sample in samples:
        by_subject.setdefault(sample["task"], []).append(sample)
    accuracy = {
        subject: mean_of_units([each["acc"] for each in part])
        for subject, part in by_subject.items()
    }
    groups = {
        name: mean_of({subject: accuracy[subject] for subject in subjects})
        for name, subjects in parts.items()
    }
    ends = itertools.accumulate(map(len, by_subject.values()))
    places = {
        s: range(end - len(by_subject[s]), end) for s, end in zip(by_subject, ends, strict=True)
    }
    answers = {
        name: list(itertools.chain(*map(places.__getitem__, parts[name]))) for name in groups
    }
    made_of = {
        "mean": (mean_of(groups, answers), list(by_subject)),
        **{name: (groups[name], subjects) for name, subjects in parts.items()},
        **{subject: (accuracy[subject], [subject]) for subject in by_subject},
    }
    found = {}
    for name, (score, subjects) in made_of.items():
        answers = [sample for subject in subjects for sample in by_subject[subject]]
        reason = _degenerate.refusal(answers, refuse_above)
        found[name] = score if reason is None else Estimate(refused=reason)
    return {**found, **_degenerate.share_estimates(samples)}
