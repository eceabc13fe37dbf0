"""The items of a study's page: its tables, figures and fitted curves, from its config."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from meltpoint.figures.spec import FigureSpec
from meltpoint.report.entries import Item
from meltpoint.study.config import StudyConfig
from meltpoint.tables.keys import Table

STAR = (
    "A curve with a transition has a star at s0, where gradual loss turns into collapse; below the "
    "curves, the thin bar is the 95 % interval of s0, and the thick one the interval over windows or "
    "documents alone. A curve without a star has no transition."
)


def page(config: StudyConfig, curves: Iterable[str]) -> dict:
    """The page of a study, in the form of a job spec. curves: sweeps that have fitted curves."""
    return {
        "title": f"Meltpoint: {config.study}",
        "lead": lead(config),
        "items": [asdict(item) for item in items(config, curves)],
        "sources": sources(config),
    }


def lead(config: StudyConfig) -> str:
    """Sentences at the top of the page."""
    models = ", ".join(config.models)
    return (
        f"Where {models} break{'s' if len(config.models) == 1 else ''} under compression: every table, "
        "figure and cell of the study, with its error, protocol and origin. A click on a column's head "
        "sorts; points of figures say their values."
    )


def sources(config: StudyConfig) -> dict[str, str]:
    """The source of each model in words, by the model's name."""
    return {name: source(model.model_dump(mode="json")) for name, model in config.models.items()}


def source(facts: dict[str, str]) -> str:
    """The source of a model in words, from the keys of its section."""
    if "hub" in facts:
        return f"hub: {facts['hub']} at {facts['revision']}"
    if "package" in facts:
        return f"package: {facts['package']} {facts['version']}, {facts['file']}"
    for key, thing in (("path", "folder"), ("gguf", "GGUF file")):
        if key in facts:
            return f"{thing}: {facts[key]}"
    return "trained by the workflow"


def items(config: StudyConfig, curves: Iterable[str]) -> list[Item]:
    """Items of the figures, tables, fitted curves, predictions, and the parameter search."""
    return [
        *(figure(name, part) for name, part in config.figures.items()),
        *(table(name, part) for name, part in config.tables.items()),
        *(transitions(sweep) for sweep in curves),
        *(predictions(sweep) for sweep in predicted(config)),
        *(parameter_search() if config.parameter_search else ()),
    ]


def predicted(config: StudyConfig) -> list[str]:
    """The sweeps whose levels are predicted from others."""
    return [name for name, sweep in config.sweeps.items() if sweep.predict is not None]


def figure(name: str, part: FigureSpec) -> Item:
    """Item of a figure, with its caption."""
    caption = part.caption or f"{part.value} of {part.source}, {part.axes}."
    if part.needs_transitions:
        caption = f"{caption.rstrip('.')}. {STAR}"
    path = Path(f"figures/{name}.svg")
    return Item("Figures", f"figure-{name}", name, caption, figure=path)


def table(name: str, part: Table) -> Item:
    """Item of a table, with its caption."""
    shown = ", ".join(part.evaluations)
    by = f"{shown} by {part.rows} and level, of {part.source}"
    if part.compares_chains:
        what = f"within {part.equivalence} of dense" if part.equivalence else f"by {part.layout}"
        by = f"{shown} {what}, of {part.source}{f' at {part.level}' if part.level else ''}"
    if part.layout == "tasks":
        by = f"{shown} task by task against dense, of {part.source}"
    caption = part.caption or f"{by}."
    path = Path(f"tables/{name}.csv")
    return Item("Tables", f"table-{name}", name, caption, table=path)


def transitions(sweep: str) -> Item:
    """Item of a sweep's fitted curves, with its caption."""
    caption = (
        "A row for each curve: s0, where gradual loss turns into collapse, with its 95 % interval, the "
        "fitted form, and what keeps it from being sure. The CSV has the parameters of the forms too."
    )
    path = Path(f"transitions/{sweep}.csv")
    return Item("Transition points", f"transitions-{sweep}", sweep, caption, curves=path)


def predictions(sweep: str) -> Item:
    """Item of the predictions of a sweep's curves, with its caption."""
    caption = (
        "A row for each level that its curve was fitted without: the log perplexity that is predicted "
        "and measured, the 95 % prediction interval, and whether it holds the measured value."
    )
    path = Path(f"transitions/{sweep}.predictions.csv")
    title = f"{sweep}, predicted"
    return Item("Transition points", f"predictions-{sweep}", title, caption, table=path)


def parameter_search() -> list[Item]:
    """Items of the analysis of a parameter search: its report, its figures, and all differences."""
    category, folder = "Parameter search", Path("search")
    return [
        Item(
            category,
            "search-report",
            "Report of the parameter search",
            "Groups, correlations and best runs of each model, and the differences beyond noise.",
            text=folder / "final_analysis_report.txt",
        ),
        Item(
            category,
            "search-heatmap",
            "Perplexity over length and samples",
            "Perplexity by model and method; one logarithmic colour scale for each model. The frame is "
            "the lowest perplexity of a model.",
            figure=folder / "heatmap_perplexity.svg",
        ),
        Item(
            category,
            "search-dependence",
            "Partial dependence",
            "Mean score at each level of each factor, the others averaged, with 95 % intervals.",
            figure=folder / "dependence.svg",
        ),
        Item(
            category,
            "search-differences",
            "All pairs of levels",
            "A row for each pair of levels of a factor, over the runs that agree in all else.",
            table=folder / "compare_levels.csv",
        ),
    ]
