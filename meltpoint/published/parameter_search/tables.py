"""The tables of the parameter search."""

import numpy as np
import pandas as pd

from meltpoint.analysis.parameter_search import GRID, TASKS, best_run, lowest_ppl
from meltpoint.analysis.significance import LARGER, SMALL, VARIES
from meltpoint.published.parameter_search.captions import TABLES
from meltpoint.tables.markup import Entry, Table

SPELLED = {
    **{"boolq": "BoolQ", "piqa": "PIQA", "hellaswag": "HellaSwag", "winogrande": "WinoGrande"},
    **{"arc_easy": "ARC-e", "arc_challenge": "ARC-c", "openbookqa": "OBQA"},
    **{"method": "method", "seq_len": "length", "num_samples": "samples"},
    **{"grad_mean_ratio": "ratio of gradient means", "grad_norm_ratio": "ratio of gradient norms"},
    **{"grad_mean_range": "range of gradient means", "grad_norm_range": "range of gradient norms"},
    **{"extreme_pruning_layers": "extreme layers", "ppl": "perplexity"},
}
INFINITE = (
    "{} of the 45 runs have an infinite value (a 16-bit norm above 65504 overflows): the source prints "
    "nan; here Pearson's r is over the finite ones"
)
REMARKS = {
    "search_extreme": ["sd is the population standard deviation."],
    "search_groups": ["sd is the population standard deviation."],
    "search_best": [
        "The source's cross-model table calls the perplexity of the most accurate run the best one."
    ],
    "search_correlations": [
        "Spearman's rho is over all runs, an infinity being the largest; its 95 % interval draws the "
        "cells of length and samples, which the three methods share together with their gradients.",
        "Gradients depend on length and samples alone (but for small differences at length 256), so a "
        "correlation with them cannot be told from one with the length.",
    ],
    "search_comparisons": [
        "p: exact sign flips over the cells, Holm's correction for the pairs of a factor in a model. "
        "Floor: 1.96 standard errors of a difference of two runs from the test questions alone, an "
        "upper bound, since all runs answer the same questions.",
        f"Verdict: {LARGER}: corrected p below 0.05, and above the floor; {SMALL}: the first alone; "
        f"{VARIES}: above the floor alone; none: neither.",
        "Each setting was run once. Runs that differ in the number of samples alone are nearly "
        "repetitions, so the cells are less independent than the p values take them to be.",
    ],
    "search_dependence": [
        "Intervals: 95 %, from the residuals of the additive model, interactions among them."
    ],
    "search_variance": [
        "Shares of the factors, then of their pairs; the remainder is what only all three explain, and "
        "the noise of single runs."
    ],
}


def tables(frame: pd.DataFrame, summary: pd.DataFrame, noise: dict) -> dict[str, Table]:
    """All tables by name; `noise` holds what `search_noise` found, by its functions' names."""
    groups = summary[summary["section"].isin(["method", "seq_len", "num_samples"])]
    extreme = summary[summary["section"] == "extreme"]
    return {
        "search_best": best_table(frame),
        "search_groups": groups_table("search_groups", groups),
        "search_extreme": groups_table("search_extreme", extreme),
        "search_correlations": correlations_table(summary),
        "search_comparisons": comparisons_table(noise["compare_levels"]),
        "search_dependence": dependence_table(noise["partial_dependence"]),
        "search_variance": variance_table(noise["explained"]),
    }


def table(name: str, labels, heads, rows, cells, notes=None) -> Table:
    return Table(TABLES[name][1], labels, heads, rows, notes or {}, REMARKS[name], cells)


def best_table(frame: pd.DataFrame) -> Table:
    """Two rows per model: the best accuracy, the lowest perplexity."""
    rows, cells = [], []
    for model, runs in frame.groupby("model", sort=False):
        for kind, run in (("accuracy", best_run(runs)), ("perplexity", lowest_ppl(runs))):
            setting = [run["pruning_method"], *(str(run[name]) for name in GRID)]
            accuracies = [run[f"acc_{task}"] for task in TASKS]
            entries = [Entry(f"{run['ppl']:.2f}"), *map(percent, [run["acc_mean"], *accuracies])]
            entries[kind == "accuracy"].mark = "best"
            rows.append(([model, kind, *setting], entries))
            cells.append({"model": model, "best": kind} | run.drop("model").to_dict())
    labels = ["model", "best", "method", "length", "samples"]
    heads = ["perplexity", "accuracy", *(SPELLED[task] for task in TASKS)]
    return table("search_best", labels, heads, rows, pd.DataFrame(cells))


def percent(value: float) -> Entry:
    return Entry(f"{100 * value:.2f}")


def groups_table(name: str, summary: pd.DataFrame) -> Table:
    """Statistics of accuracy, a row per group; the best mean of a factor is marked."""
    wide = widen(summary)
    best = wide.groupby(["model", "section"])["mean"].transform("max")
    rows = []
    for group, top in zip(wide.to_dict("records"), best, strict=True):
        entries = [percent(group[statistic]) for statistic in ("mean", "std", "min", "max")]
        entries[0].mark = "best" if group["mean"] == top and name == "search_groups" else ""
        labels = [group["model"], SPELLED.get(group["section"], "layers"), group["key"]]
        rows.append((labels, [*entries, Entry(f"{group['count']:.0f}")]))
    heads = ["mean", "sd", "min", "max", "runs"]
    return table(name, ["model", "factor", "level"], heads, rows, wide)


def widen(summary: pd.DataFrame) -> pd.DataFrame:
    """A column per statistic, a row per model, section and key, in their order."""
    keys = ["model", "section", "key"]
    wide = summary.pivot_table(index=keys, columns="statistic", values="value")
    order = pd.MultiIndex.from_frame(summary[keys].drop_duplicates())
    statistics = summary["statistic"].unique()
    wide = wide.reindex(order)[statistics].reset_index().rename_axis(columns=None)
    models = list(summary["model"].unique())
    return wide.sort_values("model", key=lambda m: m.map(models.index), kind="stable")


def correlations_table(summary: pd.DataFrame) -> Table:
    wide = widen(summary[summary["section"] == "correlation"]).drop(columns="section")
    notes = {letter: INFINITE.format(int(n)) for letter, n in lettered(wide["n_inf"])}
    by_number = {int(n): letter for letter, n in lettered(wide["n_inf"])}
    rows = []
    for row in wide.to_dict("records"):
        interval = f"{row['spearman_low']:+.2f} to {row['spearman_high']:+.2f}"
        letter = [by_number[int(row["n_inf"])]] if row["n_inf"] else []
        entries = [
            Entry(f"{row['pearson_published']:+.4f}".replace("+nan", "nan"), notes=letter),
            Entry(f"{row['pearson']:+.4f}"),
            Entry(f"{row['n_finite']:.0f}"),
            Entry(f"{row['spearman']:+.4f}"),
            Entry(interval),
        ]
        rows.append(([row["model"], SPELLED[row["key"]]], entries))
    heads = ["r, as published", "r", "finite runs", "rho", "95 % interval"]
    printed = wide["pearson_published"].astype(object).fillna("nan")
    cells = wide.assign(pearson_published=printed)
    return table("search_correlations", ["model", "measure"], heads, rows, cells, notes)


def lettered(numbers: pd.Series) -> list[tuple[str, float]]:
    return list(zip("abcdef", numbers[numbers > 0].unique(), strict=False))


def comparisons_table(found: pd.DataFrame) -> Table:
    rows = []
    for row in found.to_dict("records"):
        pair = f"{row['second']} - {row['first']}"
        points = {name: 100 * row[name] for name in ("difference", "low", "high", "floor")}
        mark = "best" if row["verdict"] == LARGER else ""
        entries = [
            Entry(f"{points['difference']:+.2f}", mark=mark),
            Entry(f"{points['low']:+.2f} to {points['high']:+.2f}"),
            Entry(f"{points['floor']:.2f}"),
            Entry(f"{row['p_holm']:.4f}"),
            Entry(row["verdict"]),
        ]
        rows.append(([row["model"], SPELLED[row["factor"]], pair], entries))
    heads = ["difference", "95 % interval", "floor", "p", "verdict"]
    return table("search_comparisons", ["model", "factor", "pair"], heads, rows, found)


def dependence_table(found: pd.DataFrame) -> Table:
    rows = [
        (
            [row["model"], SPELLED[row["factor"]], row["level"]],
            [percent(row["mean"]), Entry(f"{100 * row['low']:.2f} to {100 * row['high']:.2f}")],
        )
        for row in found.to_dict("records")
    ]
    labels, heads = ["model", "factor", "level"], ["mean", "95 % interval"]
    return table("search_dependence", labels, heads, rows, found)


def variance_table(found: pd.DataFrame) -> Table:
    wide = found.pivot_table(index="model", columns="term", values="share")
    wide = wide.reindex(index=found["model"].unique(), columns=found["term"].unique())
    heads = [spell_term(term) for term in wide]
    rows = [
        ([model], [Entry(f"{100 * share:.1f} %") for share in np.clip(shares, 0, None)])
        for model, shares in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return table("search_variance", ["model"], heads, rows, found)


def spell_term(term: str) -> str:
    """A factor or a pair of factors as readers know them."""
    return " x ".join(SPELLED.get(part, part) for part in term.split(" x "))
