"""The report of the parameter search, section by section."""

from collections.abc import Iterator

import pandas as pd

from meltpoint.analysis.parameter_search import (
    GRID,
    MEASURES,
    TASKS,
    best_run,
    correlate,
    lowest_ppl,
)
from meltpoint.analysis.significance import LARGER
from meltpoint.published.parameter_search.tables import SPELLED, spell_term, widen
from meltpoint.published.parameter_search.text_format import Section

STRONG, MEDIUM = 0.7, 0.5
GROUPS = {
    "method": "By method",
    "seq_len": "By calibration length",
    "num_samples": "By number of samples",
    "extreme": "By extreme layers (more than half of the MLP pruned)",
}


def sections(
    frame: pd.DataFrame, summary: pd.DataFrame, models: list, noise: dict
) -> list[Section]:
    """The whole report; `models` as `compare_models` ranks them, `noise` by functions' names."""
    found = [Section("Parameter search: taylor, layerwise and blockwise", 1, opening(frame))]
    for model, runs in frame.groupby("model", sort=False):
        found += model_sections(model, runs, summary[summary["model"] == model])
    return [*found, *across(frame, models), *beyond(noise)]


def opening(frame: pd.DataFrame) -> str:
    return (
        f"{len(frame)} runs of {frame['model'].nunique()} models, each pruned by 20 % without "
        "fine-tuning. Accuracies are means of seven zero-shot tasks, as fractions; sd is the "
        "population standard deviation; perplexity is on WikiText2 at length 128."
    )


def model_sections(model: str, runs: pd.DataFrame, summary: pd.DataFrame) -> Iterator[Section]:
    yield Section(model, 2)
    for section, title in GROUPS.items():
        yield Section(title, table=statistics(summary[summary["section"] == section]))
    table, text = correlations(runs)
    yield Section("Pearson correlations with accuracy", text=text, table=table)
    yield Section("Perplexity against accuracy", text=against_perplexity(runs))
    yield Section("Best configuration", text=best_text(runs), table=task_table(best_run(runs)))


def statistics(summary: pd.DataFrame) -> pd.DataFrame:
    wide = widen(summary)
    table = pd.DataFrame({"": wide["key"]})
    for name, head in {"mean": "mean", "std": "sd", "min": "min", "max": "max"}.items():
        table[head] = wide[name].map("{:.4f}".format)
    return table.assign(runs=wide["count"].map("{:.0f}".format))


def correlations(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Pearson and Spearman per measure, and what is to be said of infinities."""
    measures = [key for key in MEASURES if key != "ppl"]
    found = {key: correlate(runs, key) for key in measures}
    table = pd.DataFrame(
        {
            "measure": [SPELLED[key] for key in found],
            "r": [f"{c['pearson']:+.4f}" for c in found.values()],
            "finite runs": [str(c["n_finite"]) for c in found.values()],
            "rank correlation": [
                f"{c['spearman']:+.4f} ({c['spearman_low']:+.2f} to {c['spearman_high']:+.2f})"
                for c in found.values()
            ],
        }
    )
    infinite = {SPELLED[key]: c["n_inf"] for key, c in found.items() if c["n_inf"]}
    if not infinite:
        return table, ""
    named = " and ".join(f"{count} of {name}" for name, count in infinite.items())
    return table, (
        f"Infinite in the data: {named} (norms of 16-bit gradients overflow above 65504). The source "
        "prints nan for these correlations; here r is over the finite runs, and the rank correlation "
        "over all, an infinity being the largest."
    )


def against_perplexity(runs: pd.DataFrame) -> str:
    found = correlate(runs, "ppl")
    r, rho = found["pearson"], found["spearman"]
    strength = "strong" if abs(r) > STRONG else "medium" if abs(r) > MEDIUM else "weak"
    return (
        f"r = {r:+.4f} ({strength}), rank correlation {rho:+.4f} "
        f"({found['spearman_low']:+.2f} to {found['spearman_high']:+.2f})."
    )


def best_text(runs: pd.DataFrame) -> str:
    best, least = best_run(runs), lowest_ppl(runs)
    return (
        f"{setting(best)}: accuracy {best['acc_mean']:.4f} at perplexity {best['ppl']:.2f}, "
        f"{best['extreme_pruning_layers']} extreme layers. The lowest perplexity, {least['ppl']:.2f}, "
        f"has {setting(least)}, at accuracy {least['acc_mean']:.4f}."
    )


def setting(run: pd.Series) -> str:
    length, samples = (run[name] for name in GRID)
    return f"{run['pruning_method']}, length {length}, {samples} samples"


def task_table(run: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({SPELLED[task]: [f"{run[f'acc_{task}']:.4f}"] for task in TASKS})


def across(frame: pd.DataFrame, models: list[dict]) -> list[Section]:
    """The models ranked by their best accuracy."""
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
    text = (
        "The source calls the perplexity of the most accurate run the best one; the lowest stands "
        "beside it."
    )
    return [Section("Across the models", 2, text, pd.DataFrame(rows))]


def beyond(noise: dict) -> Iterator[Section]:
    """What the published summary does not ask: which of all this is more than noise."""
    yield Section("Beyond the published summary", 2)
    yield Section("The noise of one run", text=NOISE, table=noise_table(noise["noise_floor"]))
    compared = noise["compare_levels"]
    yield Section("Differences", text=DIFFERENCES, table=difference_table(compared))
    shares = variance_table(noise["explained"])
    yield Section("Where the variance comes from", text=VARIANCE, table=shares)


NOISE = (
    "Each setting was run once. Standard error: of the best run's accuracy, from the numbers of test "
    "questions. Close: other runs within 1.96 standard errors of a difference from the best one, from "
    "which the test sets cannot tell it. Repeats: standard deviation over the numbers of samples where "
    "method and length are the same, the nearest thing to a repetition."
)
DIFFERENCES = (
    "Pairs of levels over the cells of the grid that agree in all else, in points of percent: those "
    "that are larger than their noise (sign flips with Holm's correction below 0.05, and a difference "
    "above 1.96 standard errors from the test questions), with 95 % bootstrap intervals. All pairs "
    "stand in tables/search_comparisons. Cells that differ in the number of samples alone are nearly "
    "repetitions, so the p values take them for more independent than they are."
)
VARIANCE = (
    "Shares of the variance of accuracy within each model. Where a pair of factors has a large share, "
    "the partial dependence on one of them alone says less than it seems to."
)


def noise_table(found: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": found["model"],
            "best": found["best"].map("{:.4f}".format),
            "standard error": found["stderr"].map("{:.4f}".format),
            "close": found["close"].astype(str),
            "repeats": found["repeats"].map("{:.4f}".format),
        }
    )


def difference_table(found: pd.DataFrame) -> pd.DataFrame:
    rows = found[found["verdict"] == LARGER].to_dict("records")
    return pd.DataFrame(
        {
            "model": row["model"],
            "factor": SPELLED[row["factor"]],
            "pair": f"{row['second']} - {row['first']}",
            "difference": f"{100 * row['difference']:+.2f}",
            "95 % interval": f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}",
            "p": f"{row['p_holm']:.4f}",
        }
        for row in rows
    )


def variance_table(found: pd.DataFrame) -> pd.DataFrame:
    wide = found.pivot_table(index="model", columns="term", values="share")
    wide = wide.reindex(index=found["model"].unique(), columns=found["term"].unique())
    printed = wide.map(lambda share: f"{100 * abs(share):.1f} %")
    return printed.rename(columns=spell_term).reset_index()
