"""The report of a study's own parameter search, section by section."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd

from meltpoint.analysis.parameter_search import Search, best_run, correlate, lowest_ppl
from meltpoint.published.parameter_search.tables import by_term
from meltpoint.published.parameter_search.text_format import Section
from meltpoint.published.parameter_search.text_report import (
    GROUPS,
    difference_table,
    noise_table,
    statistics,
)
from meltpoint.published.specs import study

NOISE = (
    "Each setting was run once. Standard error: of the best run's paired difference to dense. Close: "
    "other runs within 1.96 standard errors of a difference from it. Repeats: standard deviation over "
    "the numbers of samples where method and length are the same, the nearest thing to a repetition."
)
DIFFERENCES = (
    "Pairs of levels over the runs that agree in all else. Listed are those that are larger than their "
    "noise: sign flips with Holm's correction below 0.05, and a difference above 1.96 standard errors. "
    "All pairs are in compare_levels.csv. Runs that differ in the number of samples alone share "
    "documents, so the p values take them for more independent than they are."
)
VARIANCE = "Shares of the variance of the score within each model."


def sections(
    runs: pd.DataFrame, search: Search, summary: pd.DataFrame, noise: dict[str, pd.DataFrame]
) -> list[Section]:
    """The whole report; `noise` holds the results of the analyses by name."""
    words = study("parameter_search").words
    found = [Section("Parameter search", 1, opening(runs, search))]
    for model, own in runs.groupby("model", sort=False):
        found += model_sections(words, own, search, summary[summary["model"] == model])
    return [*found, *beyond(words, search, noise)]


def opening(runs: pd.DataFrame, search: Search) -> str:
    """Sentences on the runs and on the score that decides."""
    mean = f"the mean accuracy of {len(search.tasks)} tasks, a fraction"
    return (
        f"{len(runs)} runs of {runs['model'].nunique()} models. The score is "
        f"{mean if search.tasks else 'perplexity'}; sd is the population standard deviation."
    )


def model_sections(
    words: dict[str, str], runs: pd.DataFrame, search: Search, summary: pd.DataFrame
) -> Iterator[Section]:
    """Groups, correlations and best runs of one model."""
    yield Section(runs["model"].iloc[0], 2)
    for section, title in GROUPS.items():
        yield Section(title, table=statistics(summary[summary["section"] == section]))
    yield Section("Correlations with the score", table=correlations(words, runs, search))
    yield Section("Best configuration", text=best_text(runs, search))
    yield Section("Worst configuration", text=worst_text(runs, search))


def correlations(words: dict[str, str], runs: pd.DataFrame, search: Search) -> pd.DataFrame:
    """Pearson's and the rank correlation of each measure with the score, as texts."""
    found = {key: correlate(runs, search, key) for key in search.measures}
    return pd.DataFrame(
        {
            "measure": [words[key] for key in found],
            "r": [known(f"{each['pearson']:+.4f}") for each in found.values()],
            "finite runs": [str(each["n_finite"]) for each in found.values()],
            "rank correlation": [rank_text(each) for each in found.values()],
        }
    )


def rank_text(found: Mapping[str, float]) -> str:
    """A rank correlation with its interval, where the drawn cells of the grid have one."""
    interval = f" ({found['spearman_low']:+.2f} to {found['spearman_high']:+.2f})"
    return known(f"{found['spearman']:+.4f}") + ("" if "nan" in interval else interval)


def known(text: str) -> str:
    """The text of a number; "-" for NaN, that of a measure which does not vary."""
    return "-" if "nan" in text else text


def best_text(runs: pd.DataFrame, search: Search) -> str:
    """The best run, and that of the lowest perplexity where another score decides."""
    best, least = best_run(runs, search), lowest_ppl(runs)
    text = f"{setting(best, search)}: perplexity {best['ppl']:.2f}"
    if search.tasks:
        text += f", accuracy {best['acc_mean']:.4f}"
        text += f". The lowest perplexity, {least['ppl']:.2f}, has {setting(least, search)}"
    return f"{text}. {best['extreme_pruning_layers']:.0f} extreme layers. Chain: {best['chain']}."


def worst_text(runs: pd.DataFrame, search: Search) -> str:
    """The run whose score is the worst."""
    worst = best_run(runs, replace(search, higher_is_better=not search.higher_is_better))
    return f"{setting(worst, search)}: perplexity {worst['ppl']:.2f}. Chain: {worst['chain']}."


def setting(run: pd.Series, search: Search) -> str:
    """A run's method and settings in words."""
    length, samples = (run[name] for name in search.settings)
    return f"{run[search.method]}, length {length}, {samples} samples"


def beyond(
    words: dict[str, str], search: Search, noise: dict[str, pd.DataFrame]
) -> Iterator[Section]:
    """Sections on the differences that exceed noise, which the published summary lacks."""
    scale = 100 if search.tasks else 1
    shares = noise["explained"]
    if len(shares):
        shares = by_term(shares).map(lambda share: f"{100 * abs(share):.1f} %").reset_index()
    yield Section("Beyond the published summary", 2)
    yield Section("The noise of one run", text=NOISE, table=noise_table(noise["noise_floor"]))
    differences = difference_table(words, noise["compare_levels"], scale)
    yield Section("Differences", text=DIFFERENCES, table=differences)
    yield Section("Where the variance comes from", text=VARIANCE, table=shares)
