"""Checks of tables and figures that compare chains, before anything runs."""

from meltpoint import evaluations
from meltpoint.analysis.draws import SEED
from meltpoint.analysis.levels import family_of, level_label
from meltpoint.analysis.output_keys import Output
from meltpoint.analysis.references import StudyView, check_names
from meltpoint.analysis.sequences import order_pairs
from meltpoint.chain import Step, methods_of, row_name, settings_of, without
from meltpoint.errors import MeltpointError
from meltpoint.evaluations._kept import SAMPLES


def check(key: str, study: StudyView, part: Output, least: int = 2) -> None:
    """Raises MeltpointError, naming the key, where chains cannot be compared by their windows.

    part: with `value` and `level`. least: how many methods there must be at the level.
    """
    check_kept(key, study, part)
    at_level = chains_by_level(study, part)
    if part.level is not None:
        check_names(f"{key}.level", [part.level], at_level, f"level of {part.source}")
    elif part.source in study.config.sweeps and len(at_level) > 1 and least > 1:
        levels = ", ".join(map(level_label, at_level))
        raise MeltpointError(
            f"{key}.level: pairs of a sweep are made at one of its levels: name one of {levels}"
        )
    chosen = at_level if part.level is None else {part.level: at_level[part.level]}
    names = [name for at_one in chosen.values() for name in at_one]
    if len(names) < least:
        where = "" if part.level is None else f" at {level_label(part.level)}"
        raise MeltpointError(
            f"{key}: {part.source} has {' and '.join(names) or 'no chain'} alone{where}, and a pair "
            "needs two: name another level or source"
        )


def check_kept(key: str, study: StudyView, part: Output) -> None:
    """Raises MeltpointError, naming the key, for a score that is not kept window by window."""
    evaluation = study.score(part.value)[0]
    kind = evaluations.kind_of(study.config.evaluations[evaluation])
    if not kind.keeps or not hasattr(kind.module, "estimate"):
        raise MeltpointError(
            f"{key}.value: {part.value} keeps no value per window, so chains cannot be paired: name a "
            "perplexity"
        )


def check_families(key: str, study: StudyView, part: Output) -> None:
    """Raises MeltpointError, naming the key, where a source has not two families to compare."""
    check_kept(key, study, part)
    single = [chain for chain in study.chains(part.source) if len(study.steps(chain)) == 1]
    families = {family_of(study.kind(chain), level_of(study.steps(chain))) for chain in single}
    if len(families) < 2:
        raise MeltpointError(
            f"{key}.source: {part.source} has {' and '.join(families) or 'no'} methods alone, and "
            "families need two: `chains.NAME.include` puts sweeps together"
        )


def check_orders(key: str, study: StudyView, part: Output) -> None:
    """Raises MeltpointError, naming the key, where no two chains are orders of the same steps."""
    check_kept(key, study, part)
    if not order_pairs(study.chains(part.source)):
        raise MeltpointError(
            f"{key}.source: no two chains of {part.source} have the same steps with two neighbours "
            "swapped: write both orders"
        )


def check_answers(key: str, study: StudyView, value: str) -> None:
    """Raises MeltpointError, naming the key, for an evaluation that keeps no answer per document."""
    evaluation = study.score(value)[0]
    kind = evaluations.kind_of(study.config.evaluations[evaluation])
    if SAMPLES not in kind.keeps:
        raise MeltpointError(
            f"{key}.value: {value} keeps no answers of documents: name an evaluation of tasks"
        )


def chains_by_level(study: StudyView, part: Output) -> dict[str, set[str]]:
    """Names of the chains of a source by their levels, as the tidy frame spells them.

    Chains that differ in the setting whose values are draws have one name.
    """
    found: dict[str, set[str]] = {}
    for chain in study.chains(part.source):
        steps = study.steps(chain)
        if steps:
            found.setdefault(level_of(steps), set()).add(name_of(steps, part))
    return found


def level_of(steps: tuple[Step, ...]) -> str:
    """Levels of a chain's steps, joined by `+`."""
    return "+".join(str(step.level) for step in steps if step.level is not None)


def name_of(steps: tuple[Step, ...], part: Output) -> str:
    """Methods and settings of a chain without the setting that is averaged over; its level apart."""
    key = getattr(part, "average_over", None) or SEED
    return row_name(methods_of(steps), without(settings_of(steps), key))
