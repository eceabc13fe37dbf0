"""Checks of the names in tables and figures: a misspelled one would leave a row out in silence.

Each check raises MeltpointError with one sentence that names the key, such as `tables.pruning.labels`.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from meltpoint.analysis.output_keys import Compared, Output
from meltpoint.chain import Step, methods_of, row_name, settings_of, without
from meltpoint.data import published
from meltpoint.errors import MeltpointError
from meltpoint.text import did_you_mean


class StudyView(Protocol):
    """The parts of a study (`meltpoint.study.resolved.Study`) that checks read.

    config: the sections of the study. groups: sweeps and groups of chains, by name.
    """

    config: Any
    groups: dict[str, Any]

    def chains(self, group: str) -> list[str]:
        """Chains of a sweep or group."""

    def steps(self, chain: str) -> tuple[Step, ...]:
        """Steps of a chain."""

    def kind(self, chain: str) -> str:
        """Kind of a chain's last method."""

    def perplexity(self, evaluation: str) -> bool:
        """True for a score that is a perplexity."""

    def fitted(self, sweep: str) -> list[str]:
        """Scores of a sweep whose curves are fitted, each `evaluation.score`."""

    def full_name(self, score: str) -> str:
        """A score's name in a study as `evaluation.score`."""


def check_names(
    key: str, names: Iterable[str | None], known: Iterable[str], noun: str = "row"
) -> None:
    """Raises MeltpointError for the first name that is not known; None is no name."""
    for name in names:
        if name is not None and name not in known:
            raise MeltpointError(f"{key}: {name!r} is no {noun}{did_you_mean(name, known)}")


def chains_of(study: StudyView, part: Output) -> list[tuple[Step, ...]]:
    """Steps of each chain that a table or figure shows."""
    return [study.steps(chain) for chain in study.chains(part.source)]


def swept_settings(study: StudyView, part: Output) -> set[str]:
    """Settings that differ from the default in some chain of a table or figure."""
    return {key for steps in chains_of(study, part) for step in steps for key, _ in step.overrides}


def row_names_of(study: StudyView, part: Output) -> set[str]:
    """Methods with settings of a table's rows or a figure's lines.

    If the part averages over a setting, names with and without that setting are included.
    """
    return {
        row_name(methods_of(steps), without(settings_of(steps), left_out))
        for steps in chains_of(study, part)
        for left_out in {None, getattr(part, "average_over", None)}
    }


def printed_names_of(study: StudyView, part: Output) -> set[str]:
    """Names that a table's rows or a figure's lines may have: methods, with settings, and labels."""
    rows = row_names_of(study, part)
    return rows | set(part.labels.values()) | {row.split(",")[0] for row in rows}


def check_order(key: str, study: StudyView, part: Output) -> None:
    """Checks that each name of `order` is a row or line, of ours or of the published table.

    Not every kind of figure can show a published table.
    """
    name = getattr(part, "published", None)
    others = () if name is None else published.methods(name)
    check_names(f"{key}.order", part.order, printed_names_of(study, part) | set(others))


def step_names_of(study: StudyView, part: Output) -> set[str]:
    """Methods with settings of the single steps in the chains of a table or figure."""
    return {
        row_name(step.method, step.settings) for steps in chains_of(study, part) for step in steps
    }


def check_published(key: str, study: StudyView, part: Compared, rows: Iterable[str] = ()) -> None:
    """Checks that published numbers can be matched with ours. Only a table has `rows`."""
    name = part.published
    if name is None:
        return
    column = getattr(part, "published_column", published.PERPLEXITY)
    perplexities = [study.perplexity(e) for e in part.evaluations].count(True)
    if column == published.PERPLEXITY and perplexities != 1:
        raise MeltpointError(
            f"{key}.published: {name} holds perplexities, so exactly one perplexity must be shown"
        )
    if published.models(name):
        _check_several_models(key, study, part)
    else:
        _check_one_model(key, study, part, rows)


def _check_several_models(key: str, study: StudyView, part: Compared) -> None:
    """Checks `published_models`, and that a published method is one of ours."""
    name, models = part.published, study.groups[part.source].models
    published_models = published.models(name)
    for other in ("published_model", "compare_with"):
        if getattr(part, other, None):
            raise MeltpointError(
                f"{key}.{other}: {name} holds several models: use published_models"
            )
    if not part.published_models:
        raise MeltpointError(
            f"{key}.published_models: {name} holds several models: say which one to compare each of "
            f"yours with, such as {{{models[0]}: {published_models[0]}}}"
        )
    published_methods = {method.lower() for method in published.methods(name)}
    if not published_methods & {methods_of(steps) for steps in chains_of(study, part)}:
        raise MeltpointError(
            f"{key}.published: {name} is of {', '.join(sorted(published_methods))}, which "
            f"{part.source} has not"
        )
    key = f"{key}.published_models"
    check_names(key, part.published_models, models, "model of it")
    check_names(key, part.published_models.values(), published_models, f"model of {name}")


def _check_one_model(key: str, study: StudyView, part: Compared, rows: Iterable[str]) -> None:
    """Checks the rows that are compared, and `published_model` where several models are shown."""
    name, models = part.published, study.groups[part.source].models
    compared = getattr(part, "compare_with", {})
    if part.published_models:
        remedy = "compare_with" if rows else "published_model"
        raise MeltpointError(f"{key}.published_models: {name} is of one model: use {remedy}")
    check_names(f"{key}.published_model", [part.published_model], models, "model of it")
    if (compared or not rows) and len(models) > 1 and part.published_model is None:
        raise MeltpointError(
            f"{key}.published_model: {name} is of one model: say which of yours that is, such as "
            f"{models[0]}"
        )
    key = f"{key}.compare_with"
    check_names(key, compared, rows)
    check_names(key, compared.values(), published.methods(name), f"method of {name}")
