"""All files of a study's own parameter search, named as the published study names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from meltpoint.analysis import parameter_search, significance
from meltpoint.analysis.parameter_search import Search, best_run
from meltpoint.analysis.search_runs import Names, runs_of, search_of
from meltpoint.evaluations._kept import read_kept
from meltpoint.evaluations.pruning import COMPARISON, DIAGNOSIS, FILES, LAYERS
from meltpoint.figures.heatmap_panels import draw_heatmap
from meltpoint.figures.style import save as save_figure
from meltpoint.files import write_json
from meltpoint.published.parameter_search import layer_figures, study_report, text_format
from meltpoint.published.parameter_search.dependence import ACCURACY, Wording, draw_dependence
from meltpoint.published.parameter_search.figures import PERPLEXITY

PLAIN = {"index": False, "na_rep": "nan", "lineterminator": "\n"}


def write(
    folder: Path,
    frame: pd.DataFrame,
    cells: Path,
    varied: Mapping[str, Mapping[str, str | int]],
    names: Names,
    percent: str,
) -> None:
    """Writes the files of a search.

    frame: the tidy frame of the search's cells. cells: the folder of cells. varied: values of the
    factors, by chain. percent: the level in percent. Runs that do not apply, or were refused, are in
    the CSV files of runs and nowhere else.
    """
    search, runs = search_of(frame, names), runs_of(frame, varied, names)
    kept = runs[runs[search.target].abs() < float("inf")]
    for model, own in kept.groupby("model", sort=False):
        place = folder / f"consolidated_{model}_{percent}"
        place.mkdir(parents=True, exist_ok=True)
        every = runs[runs["model"] == model].drop(columns=["chain", "stderr"])
        every.to_csv(place / "all_methods_results.csv", **PLAIN)
        best = parameter_search.global_best(own, search)[model]
        write_measured(place / "global_best_config.json", best)
        compared = parameter_search.compare_methods(own, search)[model]
        write_measured(place / "method_comparison.json", compared)
        chosen = best_run(own, search)
        files = files_of(cells / model / chosen["chain"] / f"{names.layers}.{FILES}")
        write_best(folder / f"best_{model}_{percent}", best, chosen, files)
    write_across(folder, kept, search)


def write_measured(path: Path, value: Any) -> None:
    """Writes JSON in which a number that was not measured is null."""
    write_json(path, measured(value))


def measured(value: Any) -> Any:
    """The value with None instead of NaN, in nested dicts and lists too."""
    if isinstance(value, dict):
        return {key: measured(each) for key, each in value.items()}
    if isinstance(value, list):
        return [measured(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def files_of(path: Path) -> dict[str, Any]:
    """Contents of a method's files about its cut, by name, from a kept file of JSON lines."""
    return {line["file"]: line["content"] for line in read_kept(path)}


def write_best(
    folder: Path, best: dict[str, Any], run: pd.Series, files: Mapping[str, Any]
) -> None:
    """Writes the configuration, the scores, the analysis and the figures of the best run."""
    for name in ("evaluation", "analysis", "visualization"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_measured(folder / "best_config.json", {**best, "chain": run["chain"]})
    scores = {"ppl": run["ppl"], "acc_mean": run.get("acc_mean"), "tasks": best["tasks"]}
    write_measured(folder / "evaluation/evaluation_results.json", scores)
    for name in (DIAGNOSIS, COMPARISON):
        write_measured(folder / "analysis" / name, files[name])
    drawn = {
        "gradient_analysis": layer_figures.draw_gradients(files[LAYERS], files[COMPARISON]),
        "pruning_ratio": layer_figures.draw_pruned(files[COMPARISON]),
        "retention_ratio": layer_figures.draw_pruned(files[COMPARISON], kept=True),
    }
    for name, figure in drawn.items():
        save_figure(figure, [folder / f"visualization/{name}.png"])


def write_across(folder: Path, runs: pd.DataFrame, search: Search) -> None:
    """Writes the comparison of models, the report, and what exceeds noise in the runs."""
    write_measured(
        folder / "cross_model_comparison.json", parameter_search.compare_models(runs, search)
    )
    summary = parameter_search.summarise(runs, search)
    noise = noise_of(runs, search)
    for name, table in {"summary": summary, **noise}.items():
        table.to_csv(folder / f"{name}.csv", **PLAIN)
    report = study_report.sections(runs, search, summary, noise)
    (folder / "final_analysis_report.txt").write_text(text_format.to_text(report))
    save_figure(draw_heatmap(runs, PERPLEXITY), [folder / "heatmap_perplexity.svg"])
    wording = ACCURACY if search.tasks else Wording("perplexity", 1, apart=True)
    stderr = noise["noise_floor"].set_index("model")["stderr"]
    figure = draw_dependence(noise["partial_dependence"], stderr, wording)
    save_figure(figure, [folder / "dependence.svg"])


def noise_of(runs: pd.DataFrame, search: Search) -> dict[str, pd.DataFrame]:
    """Tables of effects in the runs that exceed noise, by analysis.

    Shares of the variance are of models that have every run of the grid.
    """
    keys = search.factors, search.target
    whole = with_whole_grids(runs, search)
    shares = pd.DataFrame(columns=["model", "term", "share"])
    if len(whole):
        shares = significance.explained(whole, *keys)
    return {
        "noise_floor": parameter_search.noise_floor(runs, search),
        "compare_levels": significance.compare_levels(runs, *keys),
        "partial_dependence": significance.partial_dependence(runs, *keys),
        "explained": shares,
    }


def with_whole_grids(runs: pd.DataFrame, search: Search) -> pd.DataFrame:
    """The runs of models that have a run for every choice of levels."""
    columns = list(search.factors.values())
    size = int(runs[columns].nunique().prod())
    return runs[runs.groupby("model")["model"].transform("size") == size]
