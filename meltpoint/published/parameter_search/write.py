"""All files of the parameter search."""

from pathlib import Path

from meltpoint.analysis import parameter_search, significance
from meltpoint.data.published import FOLDER
from meltpoint.figures.style import save
from meltpoint.files import write_json
from meltpoint.published.parameter_search import text_format, text_report
from meltpoint.published.parameter_search.captions import JSON
from meltpoint.published.parameter_search.dependence import draw_dependence
from meltpoint.published.parameter_search.figures import ACCURACY, PERPLEXITY, draw_heatmap
from meltpoint.published.parameter_search.scatter import draw_gradients, draw_tradeoff
from meltpoint.published.parameter_search.tables import tables
from meltpoint.tables.markup import save

NOISE = (
    significance.noise_floor,
    significance.compare_levels,
    significance.partial_dependence,
    significance.explained,
)


def write(results: Path, folder: Path = FOLDER) -> None:
    """Write search/*, tables/search_* and figures/search_* below `results`.

    Raises MeltpointError, naming file, row and column, for a table of `folder` that is malformed.
    """
    frame = parameter_search.read_search(folder)
    noise = {find.__name__: find(frame) for find in NOISE}
    summary = parameter_search.summarise(frame)
    models = parameter_search.compare_models(frame)
    found = (parameter_search.global_best(frame), parameter_search.compare_methods(frame), models)
    for name, value in zip(JSON, found, strict=True):
        write_json(results / f"search/{name}.json", value)
    write_csv(frame, summary, results / "search")
    report = text_report.sections(frame, summary, models, noise)
    (results / "search/report.txt").write_text(text_format.to_text(report))
    (results / "search/report.md").write_text(text_format.to_markdown(report))
    for name, table in tables(frame, summary, noise).items():
        save(table, results / "tables" / name)
    for name, figure in figures(frame, noise).items():
        save(figure, [results / f"figures/{name}{suffix}" for suffix in (".svg", ".png")])


def write_csv(frame, summary, folder: Path) -> None:
    """The summary, and each model's runs as the source has them; nan and inf are spelled so."""
    summary.to_csv(folder / "summary.csv", index=False, na_rep="nan", lineterminator="\n")
    for model, runs in frame.groupby("model", sort=False):
        runs.to_csv(folder / f"{model}_all.csv", index=False, na_rep="nan", lineterminator="\n")


def figures(frame, noise: dict) -> dict:
    stderr = noise["noise_floor"]["stderr"].max()
    return {
        "search_heatmap_accuracy": draw_heatmap(frame, ACCURACY),
        "search_heatmap_perplexity": draw_heatmap(frame, PERPLEXITY),
        "search_tradeoff": draw_tradeoff(frame),
        "search_dependence": draw_dependence(noise["partial_dependence"], stderr),
        "search_gradients": draw_gradients(frame),
    }
