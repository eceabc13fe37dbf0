"""What a table or figure names must be there: a misspelled row would be left out in silence."""

import math
from collections.abc import Iterable

from meltpoint import methods
from meltpoint.analysis.levels import at_bits, nominal_bits
from meltpoint.chain import Sparsity, Step, methods_of, row_name, settings_of, without
from meltpoint.data import published
from meltpoint.errors import MeltpointError
from meltpoint.figures import panels
from meltpoint.text import did_you_mean

# About that of a panel, in parts of its width.
HEIGHT = 0.8


def check(study) -> None:
    """Raises MeltpointError, naming the key, for a setting, row or method that is not there.

    `study` is a `meltpoint.study.resolved.Study`.
    """
    for name, table in study.config.tables.items():
        key = f"tables.{name}"
        rows = _rows(study, table)
        _known(f"{key}.over", [table.over], _swept(study, table), "setting that is swept")
        _known(f"{key}.labels", table.labels, rows, "row")
        shown = rows | set(table.labels.values()) | {row.split(",")[0] for row in rows}
        _known(f"{key}.order", table.order, shown | _published_methods(table), "row")
        _published(key, study, table, shown)
    for name, figure in study.config.figures.items():
        key, swept = f"figures.{name}", _swept(study, figure)
        _known(f"{key}.over", [figure.over], swept, "setting that is swept")
        if figure.kind == "spread" and figure.x != "method":
            _known(f"{key}.x", [figure.x], swept, "setting that is swept")
        contour = figure.kind == "contour"
        named = _single(study, figure) if contour else _rows(study, figure)
        _known(f"{key}.labels", figure.labels, named, "step of it" if contour else "row")
        shown = named | set(figure.labels.values()) | {row.split(",")[0] for row in named}
        _known(f"{key}.order", figure.order, shown | _published_methods(figure), "row")
        _published(key, study, figure)
        _drawable(key, study, figure)
        _readable(key, study, figure)


def _published_methods(part) -> set[str]:
    return set(published.methods(part.published)) if part.published else set()


def _published(key: str, study, part, rows: Iterable[str] = ()) -> None:
    """What is published must have perplexities, models and rows of ours to stand beside."""
    name = part.published
    if name is None:
        return
    if [study.perplexity(e) for e in part.evaluations].count(True) != 1:
        raise MeltpointError(
            f"{key}.published: {name} holds perplexities, so exactly one perplexity must be shown"
        )
    if published.models(name):
        _of_several_models(key, study, part)
    else:
        _of_one_model(key, study, part, rows)


def _of_several_models(key: str, study, part) -> None:
    """`beside` says which of theirs is which of ours, and their method is one of ours."""
    name, own = part.published, study.groups[part.of].models
    models = published.models(name)
    if part.published_model:
        raise MeltpointError(f"{key}.published_model: {name} holds several models: use beside")
    if not part.beside:
        raise MeltpointError(
            f"{key}.beside: {name} holds several models: say which stands beside which of yours, "
            f"such as {{{own[0]}: {models[0]}}}"
        )
    theirs = {method.lower() for method in published.methods(name)}
    if not theirs & {methods_of(steps) for steps in _steps(study, part)}:
        raise MeltpointError(
            f"{key}.published: {name} is of {', '.join(sorted(theirs))}, which {part.of} has not"
        )
    _known(f"{key}.beside", part.beside, own, "model of it")
    _known(f"{key}.beside", part.beside.values(), models, f"model of {name}")


def _of_one_model(key: str, study, part, rows: Iterable[str]) -> None:
    """Of several models of ours the one is said that it is compared with. Figures have no `rows`."""
    name, own = part.published, study.groups[part.of].models
    if part.beside and not rows:
        raise MeltpointError(f"{key}.beside: {name} is of one model; a figure takes all it can")
    _known(f"{key}.published_model", [part.published_model], own, "model of it")
    if (part.beside or not rows) and len(own) > 1 and part.published_model is None:
        raise MeltpointError(
            f"{key}.published_model: {name} is of one model: say which of yours that is, such as "
            f"{own[0]}"
        )
    _known(f"{key}.beside", part.beside, rows, "row")
    _known(f"{key}.beside", part.beside.values(), published.methods(name), f"method of {name}")


def _drawable(key: str, study, figure) -> None:
    """A figure's kind must have something to draw."""
    if figure.fit and figure.of not in study.config.sweeps:
        raise MeltpointError(f"{key}.fit: curves are fitted to sweeps, and {figure.of} is none")
    if figure.fit and not study.perplexity(figure.value):
        raise MeltpointError(f"{key}.fit: curves are fitted to perplexities, not to {figure.value}")
    if figure.kind == "curves" and figure.published and published.models(figure.published):
        raise MeltpointError(
            f"{key}.published: {figure.published} holds no sparsities: a tradeoff shows it"
        )
    if figure.kind in ("tradeoff", "contour") and not study.perplexity(figure.value):
        raise MeltpointError(f"{key}.value: a {figure.kind} is of a perplexity")
    if figure.kind == "contour":
        _surface(key, study, figure)


def _surface(key: str, study, figure) -> None:
    """A contour needs chains of two steps, whose bits are told apart."""
    chains = [steps for steps in _steps(study, figure) if _pruned_then_quantized(steps)]
    if not chains:
        raise MeltpointError(
            f"{key}.of: no chain of {figure.of} is a pruning step at a sparsity and then a "
            "quantization step, such as sparsegpt@0.5+gptq@4bit"
        )
    found: dict[tuple, str] = {}
    for step in {steps[1]: None for steps in chains}:
        level = "" if step.level is None else str(step.level)
        bits = nominal_bits(level, step.method)
        first = found.setdefault((step.method, step.settings, bits), level)
        if figure.y == "level" and (math.isnan(bits) or first != level):
            raise MeltpointError(
                f"{key}.y: {step} has no nominal bits of its own; name an evaluation such as bits "
                "per weight"
            )


def _readable(key: str, study, figure) -> None:
    """The panels together must be no larger than what can be looked at."""
    rows, columns = _panels(study, figure)
    tall = HEIGHT * rows
    if columns * figure.width > panels.WIDEST or tall * figure.width > panels.TALLEST:
        most = min(panels.WIDEST / columns, panels.TALLEST / tall)
        raise MeltpointError(
            f"{key}.width: panels of {figure.width:g} inches, {columns} beside each other and {rows} "
            f"below, are too large a figure: {math.floor(10 * most) / 10:g} at the most, or show less"
        )


def _panels(study, figure) -> tuple[int, int]:
    """Rows and columns of a figure's panels."""
    models, steps = len(study.groups[figure.of].models), _steps(study, figure)
    if figure.kind == "curves":
        return 1, models
    if figure.kind == "spread":
        levels = {at_bits(_level(chain), methods_of(chain)) for chain in steps}
        return models, len(figure.levels or levels)
    if figure.kind == "tradeoff":
        return panels.grid(models if len(_rows(study, figure)) > 1 else 1)
    pairs = {tuple(map(_name, chain)) for chain in steps if _pruned_then_quantized(chain)}
    return panels.grid(models * len(pairs))


def _pruned_then_quantized(steps: tuple) -> bool:
    return (
        len(steps) == 2
        and isinstance(steps[0].level, Sparsity)
        and methods.find(steps[1].method).kind == "quantization"
    )


def _single(study, part) -> set[str]:
    """The steps of the chains of what it shows, by method and settings."""
    return {_name(step) for steps in _steps(study, part) for step in steps}


def _level(steps: tuple[Step, ...]) -> str:
    return "+".join(str(step.level) for step in steps if step.level is not None)


def _name(step: Step) -> str:
    return row_name(step.method, step.settings)


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
