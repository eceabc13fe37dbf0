"""LawBench: 20 tasks on Chinese law, zero-shot by greedy generation, with the official scores.

The prompt is the instruction, a new line and the question; the answer is all that the model writes
(Fei et al., arXiv 2309.16289). Scores are the fractions that the official functions give, and
`mean` is their plain mean. `{id}.abstention` is the fraction of answers that hold nothing to score,
for the tasks whose official function counts such answers.

The floor of a score is reached by a constant answer or a copied prompt, and a score near it says
little: the answer "18个月" gets 0.82 on 3-4, as GPT-4 does. The cell's protocol holds each task's
floor and ceiling on all questions.

Documents are `lawbench/zero_shot/{id}.json` in the folder `data`. The official code's time limit on 2-1
is left out, as its score depends on the machine.

``python -m meltpoint.evaluations.lawbench PREDICTIONS.json`` scores answers of any model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from meltpoint.evaluations._answers import write_answers_by_task
from meltpoint.evaluations._degenerate import RefusingSettings
from meltpoint.evaluations._degenerate import scores as degenerate_scores
from meltpoint.evaluations._kept import SAMPLES
from meltpoint.evaluations._lawbench.tasks import COUNT_ABSTENTIONS, IDS
from meltpoint.evaluations.contract import (
    DataSettings,
    Estimate,
    Inputs,
    Kept,
    Measurement,
    Needs,
    ScoreSpec,
)
from meltpoint.text import did_you_mean

if TYPE_CHECKING:
    from meltpoint.evaluations._lawbench.questions import Question
    from meltpoint.evaluations.engines._engine import Engine

keeps = (SAMPLES,)
example = {"lawbench": "all", "data": "tasks"}
FILE = (
    'JSON file of {"1-1": [{"index", "prediction", "refr"}, ...], ...}; predictions of 2-1 have the '
    "whole prompt too, as origin_prompt"
)


class Settings(DataSettings, RefusingSettings):
    """Official scores of LawBench's tasks on the answers that a model generates."""

    lawbench: Literal["all"] | tuple[Literal[IDS], ...] = Field(
        min_length=1, description="Numbers of the tasks, `1-1` to `3-8`, or `all`."
    )
    max_new_tokens: int = Field(1024, ge=1, description="The most tokens of an answer.")

    @field_validator("lawbench", mode="before")
    @classmethod
    def _tasks_are_known(cls, named: Any) -> Any:
        for task in named if isinstance(named, list | tuple) else ():
            if task not in IDS:
                raise ValueError(f"LawBench has no task {task!r}{did_you_mean(task, IDS)}")
        return named

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order of their numbers."""
        return tuple(task for task in IDS if self.lawbench == "all" or task in self.lawbench)


def scores(settings: Settings) -> tuple[ScoreSpec, ...]:
    """The mean, each task's score and abstentions, and the shares of degenerate answers."""
    return (
        ScoreSpec("mean", "fraction", "higher", "LawBench"),
        *(ScoreSpec(task, "fraction", "higher", f"LawBench {task}") for task in settings.tasks),
        *(
            ScoreSpec(f"{task}.abstention", "fraction", "lower", f"LawBench {task}, abstentions")
            for task in settings.tasks
            if task in COUNT_ABSTENTIONS
        ),
        *degenerate_scores,
    )


def needs(settings: Settings) -> Needs:
    """The questions of each task."""
    return Needs(data_files=tuple(f"lawbench/zero_shot/{task}.json" for task in settings.tasks))


def check(key: str, settings: Settings, data: Path) -> None:
    """Raises MeltpointError for a file of questions that cannot be read."""
    _questions(settings, data)


def _questions(settings: Settings, data: Path) -> dict[str, list[Question]]:
    from meltpoint.evaluations._lawbench.questions import read_questions

    return {
        task: read_questions(data / file, task, settings.limit)
        for task, file in zip(settings.tasks, needs(settings).data_files, strict=True)
    }


def measure(engine: Engine, inputs: Inputs, settings: Settings) -> Measurement:
    """Answers to all questions, each with its verdict, as samples.

    Raises MeltpointError for a file of questions that cannot be read.
    """
    from meltpoint.evaluations._lawbench.samples import bounds, sample_of

    by_task = _questions(settings, inputs.data)
    questions = [question for part in by_task.values() for question in part]
    prompts = {task: [each.prompt for each in part] for task, part in by_task.items()}
    answers = write_answers_by_task(engine, inputs, prompts, settings.max_new_tokens)
    samples = map(sample_of, questions, answers.generated)
    return Measurement(
        kept={SAMPLES: list(samples)},
        protocol={
            "questions": len(questions),
            "prompts_cut": answers.cut_prompts,
            "bounds": {task: bounds()[task] for task in settings.tasks},
            **engine.provenance,
        },
        warnings=answers.warnings(engine.context_length),
    )


def estimate(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """The scores that are computed from the samples, by name."""
    from meltpoint.evaluations._lawbench.samples import estimates

    return estimates(kept[SAMPLES], settings.tasks, settings.refuse_above)


def main(arguments: list[str]) -> None:
    """Prints the official scores of a file of predictions as one JSON object."""
    import argparse
    import json

    from meltpoint.evaluations._lawbench import predictions

    parser = argparse.ArgumentParser(
        prog="python -m meltpoint.evaluations.lawbench", description=main.__doc__
    )
    parser.add_argument("predictions", type=Path, help=FILE)
    results = predictions.score_file(parser.parse_args(arguments).predictions)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    import sys

    from meltpoint.errors import MeltpointError

    try:
        main(sys.argv[1:])
    except MeltpointError as error:
        sys.exit(f"Error: {error}")
