"""Checks of tables and figures of decoding strategies, before anything runs."""

from collections.abc import Iterable

from meltpoint.analysis import references
from meltpoint.analysis.output_keys import Compared
from meltpoint.analysis.references import StudyView
from meltpoint.data import published
from meltpoint.errors import MeltpointError

# The kind of evaluation whose scores are of strategies.
KIND = "generation"


def strategies_of(key: str, study: StudyView, shown: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Strategies of the evaluation of each score that is shown, (key, score).

    Raises MeltpointError for an evaluation that has none.
    """
    found = []
    for name, score in shown:
        evaluation, _ = study.score(score)
        strategies = getattr(study.config.evaluations[evaluation], "strategies", None)
        if strategies is None:
            raise MeltpointError(
                f"{key}.{name}: {evaluation} has no decoding strategies: name one of {KIND}"
            )
        found.append(list(strategies))
    return found


def check(key: str, study: StudyView, part: Compared) -> None:
    """Checks a table's scores, the rows that labels and order name, and the published models."""
    strategies = strategies_of(key, study, part.shown)
    known = references.row_names_of(study, part) | {name for each in strategies for name in each}
    references.check_names(f"{key}.labels", part.labels, known)
    references.check_names(f"{key}.order", part.order, references.printed_names_of(study, part))
    if part.published is None:
        return
    if not part.published_models:
        raise MeltpointError(
            f"{key}.published_models: {part.published} holds several models: say which one to compare "
            "each of yours with"
        )
    models, table = study.groups[part.source].models, published.models(part.published)
    if not any(study.score(name)[1].name.endswith(".pass_at_1") for name in part.evaluations):
        raise MeltpointError(f"{key}.published: {part.published} holds pass@1: show it of mbpp")
    references.check_names(f"{key}.published_models", part.published_models, models, "model of it")
    values = part.published_models.values()
    references.check_names(f"{key}.published_models", values, table, f"model of {part.published}")
