"""All files of the parameter search."""

from pathlib import Path

import pandas as pd

from meltpoint.analysis import parameter_search, significance
from meltpoint.data.published import FOLDER
from meltpoint.figures.style import save as save_figure
from meltpoint.files import write_json
from meltpoint.published.parameter_search import text_format, text_report
from meltpoint.published.parameter_search.figures import figures
from meltpoint.published.parameter_search.read import SEARCH, read_search, with_stderr
from meltpoint.published.parameter_search.tables import tables
from meltpoint.published.specs import study
from meltpoint.tables.markup import save

JSON = {
    "global_best_config": parameter_search.global_best,
    "method_comparison": parameter_search.compare_methods,
    "cross_model_comparison": parameter_search.compare_models,
}


def write(results: Path, folder: Path = FOLDER) -> None:
    """Writes search/*, tables/search_* and figures/search_* below `results`.

    Raises MeltpointError, naming file, row and column, for a table of `folder` that is malformed.
    """
    spec, source = study("parameter_search"), read_search(folder)
    runs = with_stderr(source)
    noise, summary = noise_of(runs), parameter_search.summarise(source, SEARCH)
    for name, analyse in JSON.items():
        write_json(results / f"search/{name}.json", analyse(source, SEARCH))
    write_csv(source, summary, results / "search")
    report = text_report.sections(spec, source, summary, noise)
    (results / "search/report.txt").write_text(text_format.to_text(report))
    (results / "search/report.md").write_text(text_format.to_markdown(report))
    for name, table in tables(spec, source, summary, noise).items():
        save(table, results / "tables" / name)
    for name, figure in figures(spec, runs, noise).items():
        save_figure(figure, [results / f"figures/{name}{suffix}" for suffix in (".svg", ".png")])


def noise_of(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables of effects in the runs that exceed noise, by analysis; runs: with their `stderr`."""
    floor = {"noise_floor": parameter_search.noise_floor(runs, SEARCH)}
    analyses = (
        significance.compare_levels,
        significance.partial_dependence,
        significance.explained,
    )
    return floor | {f.__name__: f(runs, SEARCH.factors, SEARCH.target) for f in analyses}


def write_csv(runs: pd.DataFrame, summary: pd.DataFrame, folder: Path) -> None:
    """The summary, and each model's runs as the source has them; nan and inf are spelled so."""
    summary.to_csv(folder / "summary.csv", index=False, na_rep="nan", lineterminator="\n")
    for model, own in runs.groupby("model", sort=False):
        own.to_csv(folder / f"{model}_all.csv", index=False, na_rep="nan", lineterminator="\n")
