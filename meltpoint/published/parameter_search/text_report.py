"""The report of the parameter search, section by section."""

from collections.abc import Iterator, Mapping

import pandas as pd

from meltpoint.analysis.parameter_search import best_run, compare_models, correlate, lowest_ppl
from meltpoint.analysis.significance import LARGER
from meltpoint.published.parameter_search.read import SEARCH
from meltpoint.published.parameter_search.tables import by_term, term_label, widen
from meltpoint.published.parameter_search.text_format import Section
from meltpoint.published.specs import StudySpec

STRONG, MEDIUM = 0.7, 0.5
GROUPS = {
    "method": "By method",
    "seq_len": "By calibration length",
    "num_samples": "By number of samples",
    "extreme": "By extreme layers (more than half of the MLP pruned)",
}


def sections(
    spec: StudySpec, frame: pd.DataFrame, summary: pd.DataFrame, noise: dict[str, pd.DataFrame]
) -> list[Section]:
    """The whole report; `noise` holds the results of the analyses by name."""
    found = [Section("Parameter search: taylor, layerwise and blockwise", 1, opening(frame))]
    for model, runs in frame.groupby("model", sort=False):
        found += model_sections(spec, model, runs, summary[summary["model"] == model])
    return [*found, across(spec, frame), *beyond(spec, noise)]


def opening(frame: pd.DataFrame) -> str:
    """Sentences on the runs: their number, tasks and units."""
    return (
        f"{len(frame)} runs of {frame['model'].nunique()} models, each pruned by 20 % without "
        "fine-tuning. Accuracies are means of seven zero-shot tasks, as fractions; sd is the "
        "population standard deviation; perplexity is on WikiText2 at length 128."
    )


def model_sections(
    spec: StudySpec, model: str, runs: pd.DataFrame, summary: pd.DataFrame
) -> Iterator[Section]:
    """Groups, correlations and best runs of one model."""
    yield Section(model, 2)
    for section, title in GROUPS.items():
        yield Section(title, table=statistics(summary[summary["section"] == section]))
    table, text = correlations(spec, runs)
    yield Section("Pearson correlations with accuracy", text=text, table=table)
    yield Section("Perplexity against accuracy", text=against_perplexity(runs))
    yield Section(
        "Best configuration", text=best_text(runs), table=task_table(spec, best_run(runs, SEARCH))
    )


def statistics(summary: pd.DataFrame) -> pd.DataFrame:
    """Statistics of accuracy by group, as texts."""
    wide = widen(summary)
    table = pd.DataFrame({"": wide["key"]})
    for name, head in {"mean": "mean", "std": "sd", "min": "min", "max": "max"}.items():
        table[head] = wide[name].map("{:.4f}".format)
    return table.assign(runs=wide["count"].map("{:.0f}".format))


def correlations(spec: StudySpec, runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Correlations per measure, and a sentence on infinite values."""
    measures = [key for key in SEARCH.measures if key != "ppl"]
    found = {key: correlate(runs, SEARCH, key) for key in measures}
    table = pd.DataFrame(
        {
            "measure": [spec.words[key] for key in found],
            "r": [f"{c['pearson']:+.4f}" for c in found.values()],
            "finite runs": [str(c["n_finite"]) for c in found.values()],
            "rank correlation": [
                f"{c['spearman']:+.4f} ({c['spearman_low']:+.2f} to {c['spearman_high']:+.2f})"
                for c in found.values()
            ],
        }
    )
    infinite = {spec.words[key]: c["n_inf"] for key, c in found.items() if c["n_inf"]}
    if not infinite:
        return table, ""
    named = " and ".join(f"{count} of {name}" for name, count in infinite.items())
    return table, (
        f"Infinite in the data: {named} (norms of 16-bit gradients overflow above 65504). The source "
        "prints nan for these correlations; here r is over the finite runs, and the rank correlation "
        "over all, an infinity being the largest."
    )


def against_perplexity(runs: pd.DataFrame) -> str:
    """Correlation of perplexity with accuracy, in words."""
    found = correlate(runs, SEARCH, "ppl")
    r, rho = found["pearson"], found["spearman"]
    strength = "strong" if abs(r) > STRONG else "medium" if abs(r) > MEDIUM else "weak"
    return (
        f"r = {r:+.4f} ({strength}), rank correlation {rho:+.4f} "
        f"({found['spearman_low']:+.2f} to {found['spearman_high']:+.2f})."
    )


def best_text(runs: pd.DataFrame) -> str:
    """The run of the best accuracy, and that of the lowest perplexity."""
    best, least = best_run(runs, SEARCH), lowest_ppl(runs)
    return (
        f"{setting(best)}: accuracy {best['acc_mean']:.4f} at perplexity {best['ppl']:.2f}, "
        f"{best['extreme_pruning_layers']} extreme layers. The lowest perplexity, {least['ppl']:.2f}, "
        f"has {setting(least)}, at accuracy {least['acc_mean']:.4f}."
    )


def setting(run: pd.Series) -> str:
    """A run's method and settings in words."""
    length, samples = (run[name] for name in SEARCH.settings)
    return f"{run[SEARCH.method]}, length {length}, {samples} samples"


def task_table(spec: StudySpec, run: pd.Series) -> pd.DataFrame:
    """A run's accuracies on the tasks."""
    return pd.DataFrame({spec.words[task]: [f"{run[f'acc_{task}']:.4f}"] for task in SEARCH.tasks})


def across(spec: StudySpec, frame: pd.DataFrame) -> Section:
    """The models ranked by their best accuracy."""
    models = compare_models(frame, SEARCH)
    rows = [
        {
            **{"rank": str(place), "model": model["model"], "method": model["best_method"]},
            "best accuracy": f"{model['best_acc']:.4f}",
            "its perplexity": f"{model['best_ppl']:.2f}",
            "lowest perplexity": f"{model['lowest_ppl']:.2f}",
            "its method": model["lowest_ppl_method"],
        }
        for place, model in enumerate(models, 1)
    ]
    return Section("Across the models", 2, spec.phrases["across"], pd.DataFrame(rows))


def beyond(spec: StudySpec, noise: dict[str, pd.DataFrame]) -> Iterator[Section]:
    """Sections that the published summary lacks: the differences that exceed noise."""
    tables = {
        ("The noise of one run", "noise"): noise_table(noise["noise_floor"]),
        ("Differences", "differences"): difference_table(spec.words, noise["compare_levels"]),
        ("Where the variance comes from", "variance"): variance_table(spec, noise["explained"]),
    }
    yield Section("Beyond the published summary", 2)
    for (title, phrase), table in tables.items():
        yield Section(title, text=spec.phrases[phrase], table=table)


def noise_table(found: pd.DataFrame) -> pd.DataFrame:
    """The noise of one run by model, as texts."""
    return pd.DataFrame(
        {
            "model": found["model"],
            "best": found["best"].map("{:.4f}".format),
            "standard error": found["stderr"].map("{:.4f}".format),
            "close": found["close"].astype(str),
            "repeats": found["repeats"].map("{:.4f}".format),
        }
    )


def difference_table(
    words: Mapping[str, str], found: pd.DataFrame, scale: float = 100
) -> pd.DataFrame:
    """The differences that are larger than their noise, times `scale`, as texts."""
    rows = found[found["verdict"] == LARGER].to_dict("records")
    return pd.DataFrame(
        {
            "model": row["model"],
            "factor": words[row["factor"]],
            "pair": f"{row['second']} - {row['first']}",
            "difference": f"{scale * row['difference']:+.2f}",
            "95 % interval": f"{scale * row['low']:+.2f} to {scale * row['high']:+.2f}",
            "p": f"{row['p_holm']:.4f}",
        }
        for row in rows
    )


def variance_table(spec: StudySpec, shares: pd.DataFrame) -> pd.DataFrame:
    """Shares of the variance by model and term, as texts."""
    printed = by_term(shares).map(lambda share: f"{100 * abs(share):.1f} %")
    return printed.rename(columns=lambda term: term_label(spec, term)).reset_index()
