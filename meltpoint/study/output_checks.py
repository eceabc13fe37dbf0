"""Checks, before anything runs, that a study has the parts that its tables and figures name."""

from meltpoint import evaluations, figures
from meltpoint.analysis import pair_checks, references, strategy_checks
from meltpoint.analysis.curve_scales import scale_name
from meltpoint.analysis.operation_keys import check_operations
from meltpoint.analysis.references import StudyView
from meltpoint.chain import parse_level
from meltpoint.errors import MeltpointError
from meltpoint.study import parameter_search
from meltpoint.study.sections import Sweep
from meltpoint.tables.keys import Table


def check(study: StudyView) -> None:
    """Raises MeltpointError, naming the key, for a setting, row or method that the study lacks."""
    parameter_search.check(study)
    for name, table in study.config.tables.items():
        check_table(f"tables.{name}", table, study)
    for name, sweep in study.config.sweeps.items():
        check_transitions(f"sweeps.{name}.transitions", sweep, study)
        check_hold_out(f"sweeps.{name}", sweep, study)
    for name, figure in study.config.figures.items():
        figures.find(figure.kind).check(f"figures.{name}", figure, study)


def check_transitions(key: str, sweep: Sweep, study: StudyView) -> None:
    """Checks the scores of a sweep's `transitions`.

    Raises MeltpointError for a score without a known law, or without a number for each unit.
    """
    for name in sweep.transitions:
        score = study.score(name)[1]
        scale = scale_name(score.name, score.unit, score.better)
        if scale is None:
            raise MeltpointError(
                f"{key}: no law is known for {name}: name KL divergences and fractions that fall, such "
                "as accuracies"
            )
        kind = evaluations.kind_of(study.config.evaluations[study.score(name)[0]])
        if not kind.keeps:
            raise MeltpointError(
                f"{key}: {name} keeps nothing for each window or document: name another score"
            )


def check_hold_out(key: str, sweep: Sweep, study: StudyView) -> None:
    """Checks that a sweep with `predict` has a perplexity to fit, and the levels to hold out."""
    if sweep.predict is None:
        return
    if not any(study.perplexity(name) for name in sweep.evaluations):
        raise MeltpointError(f"{key}.predict: curves are of perplexities, and the sweep has none")
    levels = [str(parse_level(level)) for level in sweep.levels]
    held_out = [f"{level:g}" for level in sweep.predict.hold_out]
    references.check_names(f"{key}.predict.hold_out", held_out, levels, "level of the sweep")


def check_table(key: str, table: Table, study: StudyView) -> None:
    """Checks the setting, the rows and the published table that a table names."""
    if table.layout == "strategies":
        strategy_checks.check(key, study, table)
        return
    rows, swept = references.row_names_of(study, table), references.swept_settings(study, table)
    references.check_names(
        f"{key}.average_over", [table.average_over], swept, "setting that is swept"
    )
    references.check_names(f"{key}.labels", table.labels, rows)
    references.check_order(key, study, table)
    references.check_published(key, study, table, references.printed_names_of(study, table))
    if table.layout == "tasks":
        pair_checks.check_answers(key, study, table.value)
    elif table.layout == "families":
        pair_checks.check_families(key, study, table)
    elif table.layout == "changes":
        check_operations(key, study, table)
    elif table.layout == "orders":
        pair_checks.check_orders(key, study, table)
    elif table.compares_chains:
        pair_checks.check(key, study, table, least=2 if table.layout == "pairs" else 1)
