"""MMLU by generation: five shots, the answer's letter extracted from what the model writes.

OpenCompass' protocol (mmlu_gen_4d595a): the five questions of the subject's dev file with their
answers, then the question; greedy, 256 new tokens. `first_option` reads the letter as OpenCompass
does today, `first_capital` as it did before 2024. A group's score is the plain mean over its
subjects, and `mean` is the plain mean over what the study names.

After its answer a base model goes on with a question that it makes up, and the extractor reads the
letters of that question too. `cut: true` reads only the answer's first line; the published way is
the default.

Documents are `mmlu/dev/{subject}_dev.csv` and `mmlu/test/{subject}_test.csv` in the folder `data`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from meltpoint.evaluations._answers import write_answers_by_task
from meltpoint.evaluations._degenerate import RefusingSettings
from meltpoint.evaluations._degenerate import scores as degenerate_scores
from meltpoint.evaluations._kept import SAMPLES
from meltpoint.evaluations._mmlu.subjects import GROUPS, SubjectName
from meltpoint.evaluations.contract import (
    DataSettings,
    Estimate,
    Inputs,
    Kept,
    Measurement,
    Needs,
    ScoreSpec,
)

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine

keeps = (SAMPLES,)
example = {"mmlu_generation": ["stem", "mmlu_law"], "data": "tasks"}


class Settings(DataSettings, RefusingSettings):
    """Accuracy on MMLU's subjects, from answers that a model generates."""

    mmlu_generation: tuple[SubjectName, ...] = Field(
        min_length=1, description="Groups (`stem`, `mmlu_law`) and subjects (`astronomy`)."
    )
    without: tuple[SubjectName, ...] = Field(
        (),
        description="Subjects that are left out of their groups, where their files are not at hand.",
    )
    extractor: Literal["first_option", "first_capital"] = Field(
        "first_option", description="OpenCompass' function that reads the letter of an answer."
    )
    cut: bool = Field(False, description="Whether only the first line of an answer is read.")
    max_new_tokens: int = Field(256, ge=1, description="The most tokens of an answer.")

    @model_validator(mode="after")
    def _every_group_has_a_subject(self) -> Self:
        for name, subjects in self.parts.items():
            if not subjects:
                raise ValueError(f"without: {name} has no subject left")
        return self

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """For each group or subject that the study names, its subjects."""
        return {
            name: tuple(s for s in GROUPS.get(name, (name,)) if s not in self.without)
            for name in self.mmlu_generation
        }

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, each once."""
        return tuple(dict.fromkeys(s for subjects in self.parts.values() for s in subjects))


def scores(settings: Settings) -> tuple[ScoreSpec, ...]:
    """The mean, the groups, all subjects, and the shares of degenerate answers."""
    names = dict.fromkeys((*settings.parts, *settings.subjects))
    return (
        ScoreSpec("mean", "fraction", "higher", "MMLU, generated"),
        *(ScoreSpec(n, "fraction", "higher", f"{n.replace('_', ' ')}, generated") for n in names),
        *degenerate_scores,
    )


def needs(settings: Settings) -> Needs:
    """Shots and questions of each subject."""
    return Needs(
        data_files=tuple(
            f"mmlu/{split}/{subject}_{split}.csv"
            for subject in settings.subjects
            for split in ("dev", "test")
        )
    )


def check(key: str, settings: Settings, data: Path) -> None:
    """Raises MeltpointError for a file that is missing or in another form than MMLU's."""
    from meltpoint.evaluations._mmlu.questions import read_questions

    for subject in settings.subjects:
        read_questions(data / "mmlu", subject, settings.limit)


def measure(engine: Engine, inputs: Inputs, settings: Settings) -> Measurement:
    """Answers to all questions with the letters that they name, as samples.

    Raises MeltpointError for a file that is missing or in another form than MMLU's.
    """
    from meltpoint.evaluations._mmlu.questions import read_questions
    from meltpoint.evaluations._mmlu.samples import sample_of

    by_subject = {
        subject: read_questions(inputs.data / "mmlu", subject, settings.limit)
        for subject in settings.subjects
    }
    questions = [question for part in by_subject.values() for question in part]
    prompts = {subject: [each.prompt for each in part] for subject, part in by_subject.items()}
    answers = write_answers_by_task(engine, inputs, prompts, settings.max_new_tokens)
    samples = [
        sample_of(question, answer, settings.extractor, settings.cut)
        for question, answer in zip(questions, answers.generated, strict=True)
    ]
    return Measurement(
        kept={SAMPLES: samples},
        protocol={
            "shots": 5,
            "questions": len(questions),
            "prompts_cut": answers.cut_prompts,
            **engine.provenance,
        },
        warnings=answers.warnings(engine.context_length),
    )


def estimate(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """The scores that are computed from the samples, by name."""
    from meltpoint.evaluations._mmlu.samples import estimates

    return estimates(kept[SAMPLES], settings.parts, settings.refuse_above)
