"""Verdicts on texts: right answers, programs that pass, and coherence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meltpoint.evaluations._generation import gsm8k, mauve, mbpp, sandbox
from meltpoint.evaluations._generation.documents import Document
from meltpoint.evaluations._generation.writing import Writer
from meltpoint.evaluations.contract import Estimate, Inputs

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine

Samples = list[dict[str, Any]]


def judge(
    samples: Samples,
    documents: Sequence[Document],
    prompts: Sequence[Sequence[int]],
    engine: Engine,
    inputs: Inputs,
    settings: Any,
) -> Samples:
    """Copies of the samples, each with a verdict under the name of the task's score.

    prompts: token numbers of the documents' prompts. A verdict is 1.0 or 0.0, or the coherence in nats.
    """
    places = {document.place: index for index, document in enumerate(documents)}
    indices = [places[sample["prompt"]] for sample in samples]
    if settings.generation == "prompts":
        texts = [(prompts[i], sample["tokens"]) for i, sample in zip(indices, samples, strict=True)]
        with dense_engine(engine, inputs) as dense:
            return _with(samples, "coherence", coherence(dense, texts))
    fields = [documents[index].fields for index in indices]
    name, verdicts = VERDICTS[settings.generation]
    return _with(samples, name, verdicts(samples, fields, inputs, settings))


def coherence(dense: Engine, texts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list:
    """For each text the mean log probability of its new tokens under the dense model, in nats.

    It is None for a text without new tokens. texts: (prompt, new tokens) in token numbers.
    """
    written = [index for index, (_, tokens) in enumerate(texts) if tokens]
    found: list[float | None] = [None] * len(texts)
    totals = dense.loglikelihood([texts[index] for index in written])
    for index, (total, _) in zip(written, totals, strict=True):
        found[index] = total / len(texts[index][1])
    return found


def mauve_scores(
    samples: Samples, writer: Writer, references: Sequence[str], inputs: Inputs
) -> dict[str, Estimate]:
    """MAUVE of each strategy, by the name of the score.

    references: texts in the documents' order, each with its prompt.
    """
    expected = [writer.tokens_of(text) for text in references]
    written: dict[str, dict[int, list[list[int]]]] = {}
    for sample in samples:
        texts = written.setdefault(sample["strategy"], {}).setdefault(sample["seed"], [])
        # A strategy's samples of one seed are in the documents' order.
        texts.append([*writer.prompts[len(texts)], *sample["tokens"]])
    with dense_engine(writer.engine, inputs) as dense:
        return {f"{name}.mauve": mauve.score(dense, expected, t) for name, t in written.items()}


@contextlib.contextmanager
def dense_engine(engine: Engine, inputs: Inputs) -> Iterator[Engine]:
    """Context with the dense model's engine: `engine` itself if it runs the dense model."""
    if inputs.dense_checkpoint in (None, inputs.checkpoint):
        yield engine
        return
    from meltpoint.evaluations.engines import open_engine

    with open_engine(inputs.dense_checkpoint, inputs.compute) as dense:
        yield dense


def _right_answers(samples: Samples, fields: Sequence[Mapping], inputs: Inputs, settings) -> list:
    pairs = zip(samples, fields, strict=True)
    return [float(gsm8k.is_right(sample["text"], each["answer"])) for sample, each in pairs]


def _passes(samples: Samples, fields: Sequence[Mapping], inputs: Inputs, settings) -> list:
    pairs = zip(samples, fields, strict=True)
    programs = [mbpp.program_of(sample["text"], each) for sample, each in pairs]
    passed = sandbox.all_pass(programs, settings.time_limit, inputs.compute.threads)
    return [float(each) for each in passed]


VERDICTS: dict[str, tuple[str, Callable]] = {
    "mbpp": ("pass_at_1", _passes),
    "gsm8k": ("exact_match", _right_answers),
}


def _with(samples: Samples, name: str, values: Sequence) -> Samples:
    return [{**sample, name: value} for sample, value in zip(samples, values, strict=True)]
