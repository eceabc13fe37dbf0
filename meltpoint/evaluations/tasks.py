"""Tasks of lm-eval: accuracy by the likelihood of choices, with lm-eval's prompts and standard errors.

Any task of lm-eval can be named, and any group that is weighted by its tasks' sizes (`mmlu`). Its
documents come from the hub, or from the folder `data`, as the files of resources/tasks say. A
task's score is acc_norm where lm-eval has it, else acc; `mean` is the plain mean over the names in
the study.

Two tasks are made from a corpus of the study, and need no data set. They ask which of four passages
continues a text. In `corpus_continuation` the three wrong passages are from other places of the
corpus. In `corpus_order` they have two neighbouring words exchanged. The text is decoded from the
corpus's tokens by the model's tokenizer.

A context that is too long for the model loses its beginning, as in lm-eval; the protocol counts how
often. lm-eval stops at a continuation that is longer than the model's context. Here such a
continuation is scored in parts, each after the tokens before it, and is counted too. NaN
log-likelihoods make lm-eval choose the first answer. So a score is refused if more than
`refuse_above` of its documents have NaN log-likelihoods. A killed job goes on after the last
finished task.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from meltpoint.errors import at
from meltpoint.evaluations._degenerate import RefusingSettings
from meltpoint.evaluations._kept import SAMPLES
from meltpoint.evaluations._tasks import local
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
    from transformers import PreTrainedTokenizerBase

    from meltpoint.evaluations._tasks.run import Done
    from meltpoint.evaluations.engines._engine import Engine

keeps = (SAMPLES,)
example = {"tasks": ["arc_easy", "piqa"], "shots": 0}
TaskName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]


class Settings(DataSettings, RefusingSettings):
    """Accuracy on tasks of lm-eval."""

    tasks: tuple[TaskName, ...] = Field(
        min_length=1, description="Tasks and groups by their names in lm-eval, such as `arc_easy`."
    )
    corpus: str | None = Field(
        None,
        description="Corpus of the study that `corpus_continuation` and `corpus_order` are made from. "
        "Default: none.",
    )
    shots: int = Field(0, ge=0, description="Number of solved documents before each one.")
    without: tuple[TaskName, ...] = Field(
        (),
        description="Tasks that are left out of their groups, where their files are not at hand.",
    )
    execute_code: bool = Field(
        False, description="Whether tasks may run code: a model's, or a data set's from the hub."
    )

    @model_validator(mode="after")
    def _each_task_can_be_read(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks: a name is there twice: leave one out")
        for name in self.tasks:
            if not local.tasks_of(name, self.without):
                raise ValueError(f"without: {name} has no task left")
            if self.data is not None and local.metrics_of(name) is None:
                known = (*local.tasks(), *local.groups())
                raise ValueError(
                    f"tasks: {name} cannot be read from a folder{did_you_mean(name, known)}: leave "
                    "data out to read it from the hub"
                )
        for task in self.known if self.data is not None else ():
            if self.shots and task.shots is None:
                raise ValueError(
                    f"shots: {task.name} has no file of solved documents in a folder: leave data out, "
                    "or set shots to 0"
                )
        return self

    @model_validator(mode="after")
    def _has_the_corpus_that_tasks_are_made_from(self) -> Self:
        names = [task.name for task in self.made]
        if names and self.corpus is None:
            raise ValueError(
                f"corpus: {names[0]} is made from a corpus: name one of the study's corpora"
            )
        if names and self.shots:
            raise ValueError(f"shots: {names[0]} has no solved documents: set shots to 0")
        if self.corpus is not None and not names:
            known = [task.name for task in local.tasks().values() if task.questions]
            raise ValueError(f"corpus: only {' and '.join(known)} are made from one: leave it out")
        return self

    @property
    def known(self) -> tuple[local.LocalTask, ...]:
        """The tasks that can be read from local files, each once."""
        names = (task for name in self.tasks for task in local.tasks_of(name, self.without))
        return tuple(local.tasks()[name] for name in dict.fromkeys(names) if name in local.tasks())

    @property
    def made(self) -> tuple[local.LocalTask, ...]:
        """The tasks that are made from the corpus."""
        return tuple(task for task in self.known if task.questions is not None)


def scores(settings: Settings) -> tuple[ScoreSpec, ...]:
    """The mean, each task with its metrics, and the share of documents without a likelihood."""
    return (
        ScoreSpec("mean", "fraction", "higher", "mean of tasks"),
        *(ScoreSpec(name, "fraction", "higher", name) for name in settings.tasks),
        *(
            ScoreSpec(
                f"{name}.{metric}",
                *("fraction", "higher", f"{name}, {metric}"),
                optional=local.metrics_of(name) is None,
            )
            for name in settings.tasks
            for metric in local.metrics_of(name) or ("acc", "acc_norm")
        ),
        ScoreSpec("degenerate.non_finite", "fraction", "lower", "non-finite answers"),
    )


def needs(settings: Settings) -> Needs:
    """The corpus, the data files of local tasks, and the files of resources/tasks that declare them."""
    local_tasks = settings.known if settings.data is not None else ()
    files = (file for task in local_tasks for file in task.files)
    definitions = (task.file for task in settings.known)
    return Needs(
        tokens=settings.corpus,
        data_files=tuple(dict.fromkeys(files)),
        definitions=tuple(dict.fromkeys(definitions)),
    )


def check(key: str, settings: Settings, data: Path | None) -> None:
    """Raises MeltpointError for a task that lm-eval lacks, and for documents that cannot be read."""
    from meltpoint.evaluations._tasks.documents import read_documents
    from meltpoint.evaluations._tasks.index import check_name

    for name in settings.tasks:
        if local.metrics_of(name) is None:
            at(f"{key}.tasks", check_name, name, settings.execute_code)
    for task in settings.known if data is not None else ():
        if task.documents is not None:
            read_documents(task, data, task.documents, settings.limit)
        if task.shots is not None:
            read_documents(task, data, task.shots)


def measure(engine: Engine, inputs: Inputs, settings: Settings) -> Measurement:
    """Log-likelihoods and verdicts of all documents as samples.

    Raises MeltpointError for a task that cannot be loaded, NotApplicable for one whose answers do not
    fit the model's context.
    """
    from meltpoint.data.tokenization import tokenizer_of
    from meltpoint.evaluations._tasks.harness import load
    from meltpoint.evaluations._tasks.model import EngineModel
    from meltpoint.evaluations._tasks.run import run
    from meltpoint.hashing import hash_file

    tokenizer = tokenizer_of(inputs.checkpoint)
    text = text_of(inputs, tokenizer) if settings.made else None
    tasks = load(settings, inputs.data, inputs.key, text)
    model = EngineModel(engine, tokenizer)
    done = list(run(tasks, model, settings.limit, settings.execute_code, inputs.resume))
    # A job spec holds the hashes of the files in the folder, not its path: so `settings.data` is None.
    local_tasks = settings.known if inputs.data is not None else ()
    return Measurement(
        kept={SAMPLES: [sample for each in done for sample in each.samples]},
        protocol={
            **protocol_of(done, local_tasks),
            **({"tokens_hash": hash_file(inputs.tokens)} if settings.made else {}),
            **engine.provenance,
        },
        warnings=warnings_of(done, model.max_length),
    )


def text_of(inputs: Inputs, tokenizer: PreTrainedTokenizerBase) -> str:
    """Text of a corpus's tokens; raises MeltpointError for tokens of another tokenizer."""
    from meltpoint.data.corpora import check_vocabulary, read_tokens
    from meltpoint.data.tokenization import vocabulary_of

    tokens = read_tokens(inputs.tokens, dimensions=1)
    check_vocabulary(tokens, vocabulary_of(inputs.checkpoint), str(inputs.tokens))
    return tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def protocol_of(done: list[Done], local_tasks: Sequence[local.LocalTask]) -> dict[str, object]:
    """Protocol of a cell's tasks.

    It has lm-eval's version, the numbers of documents and of cut requests of each task, and the
    differences of prompts from lm-eval's.
    """
    from importlib.metadata import version

    differ = {task.name: task.differs for task in local_tasks if task.differs}
    return {
        "lm_eval": version("lm_eval"),
        "documents": {each.task: len(each.samples) for each in done},
        "requests_cut": {each.task: each.cut for each in done if each.cut},
        **({"prompts_differ": differ} if differ else {}),
    }


def warnings_of(done: list[Done], context_length: int) -> list[str]:
    """A list of one sentence with the number of requests that were cut; empty if none was."""
    cut, total = sum(each.cut for each in done), sum(each.requests for each in done)
    if not cut:
        return []
    return [
        f"{cut:,} of {total:,} requests are longer than the model's context of {context_length:,} "
        "tokens and were cut from the left"
    ]


def estimate(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """The scores that are computed from the samples, by name."""
    from meltpoint.evaluations._tasks.samples import estimates

    return estimates(kept[SAMPLES], settings.tasks, settings.refuse_above)


def floors(kept: Kept, settings: Settings) -> dict[str, float]:
    """Accuracies at chance, by score: those of answers that are drawn among a document's choices."""
    from meltpoint.evaluations._tasks.samples import floors

    return floors(kept[SAMPLES], settings.tasks)
