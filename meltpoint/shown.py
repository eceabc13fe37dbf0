"""What a table or figure names must be there: a misspelled row would be left out in silence."""

from collections.abc import Iterable

from meltpoint import published
from meltpoint.chain import methods_of, row_name, settings_of, without
from meltpoint.errors import MeltpointError
from meltpoint.text import did_you_mean


def check(study) -> None:
    """Raises MeltpointError, naming the key, for a setting, row or method that is not there.

    `study` is a `meltpoint.study.Study`.
    """
    for name, table in study.config.tables.items():
        key = f"tables.{name}"
        rows = _rows(study, table)
        _known(f"{key}.over", [table.over], _swept(study, table), "setting that is swept")
        _known(f"{key}.labels", table.labels, rows, "row")
        shown = rows | set(table.labels.values()) | {row.split(",")[0] for row in rows}
        _known(f"{key}.beside", table.beside, shown, "row")
        if table.beside:
            theirs = published.methods(table.published)
            _known(f"{key}.beside", table.beside.values(), theirs, f"method of {table.published}")
    for name, figure in study.config.figures.items():
        key, swept = f"figures.{name}", _swept(study, figure)
        _known(f"{key}.over", [figure.over], swept, "setting that is swept")
        if figure.x not in ("level", "method"):
            _known(f"{key}.x", [figure.x], swept, "setting that is swept")
        _known(f"{key}.labels", figure.labels, _rows(study, figure), "row")


def _known(key: str, names: Iterable[str | None], known: Iterable[str], what: str) -> None:
    for name in names:
        if name is not None and name not in known:
            raise MeltpointError(f"{key}: {name!r} is no {what}{did_you_mean(name, known)}")


def _steps(study, part):
    return [study.steps(chain) for chain in study.chains(part.of)]


def _swept(study, part) -> set[str]:
    """The settings that differ from the default somewhere in what a table or figure shows."""
    return {key for steps in _steps(study, part) for step in steps for key, _ in step.overrides}


def _rows(study, part) -> set[str]:
    """Method and settings of what it shows, with and without the setting that is averaged over."""
    return {
        row_name(methods_of(steps), without(settings_of(steps), left_out))
        for steps in _steps(study, part)
        for left_out in {None, part.over}
    }
