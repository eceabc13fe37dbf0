"""All files of the parameter search."""

from pathlib import Path

from meltpoint.figures.style import save
from meltpoint.files import write_json
from meltpoint.published import FOLDER, prose, search, search_noise, search_report
from meltpoint.published.printed import save_table
from meltpoint.published.search_contents import JSON
from meltpoint.published.search_dependence import draw_dependence
from meltpoint.published.search_figures import ACCURACY, PERPLEXITY, draw_heatmap
from meltpoint.published.search_scatter import draw_gradients, draw_tradeoff
from meltpoint.published.search_tables import tables

NOISE = (
    search_noise.noise_floor,
    search_noise.compare_levels,
    search_noise.partial_dependence,
    search_noise.explained,
)


def write(results: Path, folder: Path = FOLDER) -> None:
    """Write search/*, tables/search_* and figures/search_* below `results`.

    Raises MeltpointError, naming file, row and column, for a table of `folder` that is malformed.
    """
    frame = search.read_search(folder)
    noise = {find.__name__: find(frame) for find in NOISE}
    summary = search.summarise(frame)
    models = search.compare_models(frame)
    found = (search.global_best(frame), search.compare_methods(frame), models)
    for name, value in zip(JSON, found, strict=True):
        write_json(results / f"search/{name}.json", value)
    write_csv(frame, summary, results / "search")
    report = search_report.sections(frame, summary, models, noise)
    (results / "search/report.txt").write_text(prose.to_text(report))
    (results / "search/report.md").write_text(prose.to_markdown(report))
    for name, table in tables(frame, summary, noise).items():
        save_table(table, results / "tables" / name)
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
