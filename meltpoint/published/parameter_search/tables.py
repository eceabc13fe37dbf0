"""The tables of the parameter search."""

import numpy as np
import pandas as pd

from meltpoint.analysis.parameter_search import best_run, lowest_ppl
from meltpoint.analysis.significance import LARGER
from meltpoint.published.parameter_search.read import SEARCH
from meltpoint.published.specs import StudySpec
from meltpoint.published.tables import printed
from meltpoint.tables.grid import Grid, cells_of
from meltpoint.tables.markup import Table


def tables(
    spec: StudySpec, runs: pd.DataFrame, summary: pd.DataFrame, noise: dict[str, pd.DataFrame]
) -> dict[str, Table]:
    """All tables by name; `noise` holds the results of `meltpoint.analysis.significance` by name."""
    factors = summary[summary["section"].isin(SEARCH.factors)]
    extreme = summary[summary["section"].isin(SEARCH.counts)]
    return {
        "search_best": best_table(spec, runs),
        "search_groups": groups_table(spec, "search_groups", factors),
        "search_extreme": groups_table(spec, "search_extreme", extreme),
        "search_correlations": correlations_table(spec, summary),
        "search_comparisons": comparisons_table(spec, noise["compare_levels"]),
        "search_dependence": dependence_table(spec, noise["partial_dependence"]),
        "search_variance": variance_table(spec, noise["explained"]),
    }


def table(
    spec: StudySpec, name: str, labels: list[str], heads: list[str], rows: list, csv: pd.DataFrame
) -> Table:
    """A table of rows: their labels by name, and a cell for each head (or more of them, in order)."""
    cells = [
        names | {"head": head} | cell
        for names, line in rows
        for head, cell in zip(heads, line, strict=True)
    ]
    grid = Grid({label: label for label in labels}, {head: head for head in heads})
    return printed(spec.tables[name], cells_of(cells), grid, csv)


def percent(value: float, mark: bool = False) -> dict:
    """A cell that holds a fraction in percent."""
    return {"value": 100 * value, "mark": "best" if mark else ""}


def best_table(spec: StudySpec, runs: pd.DataFrame) -> Table:
    """Two rows per model: the best accuracy, the lowest perplexity."""
    rows, cells = [], []
    for model, own in runs.groupby("model", sort=False):
        for kind, run in (("accuracy", best_run(own, SEARCH)), ("perplexity", lowest_ppl(own))):
            length, samples = (run[name] for name in SEARCH.settings)
            names = {"model": model, "best": kind, "method": run[SEARCH.method]}
            ppl = {"value": run["ppl"], "mark": "best" if kind == "perplexity" else ""}
            accuracies = [percent(run[column]) for column in SEARCH.accuracies]
            line = [ppl, percent(run["acc_mean"], kind == "accuracy"), *accuracies]
            rows.append((names | {"length": length, "samples": samples}, line))
            cells.append({"model": model, "best": kind} | run.drop("model").to_dict())
    labels = ["model", "best", "method", "length", "samples"]
    heads = ["perplexity", "accuracy", *(spec.words[task] for task in SEARCH.tasks)]
    return table(spec, "search_best", labels, heads, rows, pd.DataFrame(cells))


def groups_table(spec: StudySpec, name: str, summary: pd.DataFrame) -> Table:
    """Statistics of accuracy, a row per group; the best mean of a factor is marked."""
    wide = widen(summary)
    best = wide.groupby(["model", "section"])["mean"].transform("max")
    rows = []
    for group, top in zip(wide.to_dict("records"), best, strict=True):
        marked = group["mean"] == top and name == "search_groups"
        line = [percent(group["mean"], marked), *(percent(group[x]) for x in ("std", "min", "max"))]
        factor = spec.words.get(group["section"], "layers")
        names = {"model": group["model"], "factor": factor, "level": group["key"]}
        rows.append((names, [*line, {"value": group["count"], "digits": 0}]))
    heads = ["mean", "sd", "min", "max", "runs"]
    return table(spec, name, ["model", "factor", "level"], heads, rows, wide)


def widen(summary: pd.DataFrame) -> pd.DataFrame:
    """A column per statistic, a row per model, section and key, in their order."""
    keys = ["model", "section", "key"]
    wide = summary.pivot_table(index=keys, columns="statistic", values="value")
    order = pd.MultiIndex.from_frame(summary[keys].drop_duplicates())
    statistics = summary["statistic"].unique()
    wide = wide.reindex(order)[statistics].reset_index().rename_axis(columns=None)
    models = list(summary["model"].unique())
    return wide.sort_values("model", key=lambda m: m.map(models.index), kind="stable")


def correlations_table(spec: StudySpec, summary: pd.DataFrame) -> Table:
    """Correlations of each measure with accuracy; infinite values are noted."""
    wide = widen(summary[summary["section"] == "correlation"]).drop(columns="section")
    rows = []
    for row in wide.to_dict("records"):
        infinite = spec.phrases["infinite"].format(int(row["n_inf"])) if row["n_inf"] else ""
        published = f"{row['pearson_published']:+.4f}".replace("+nan", "nan")
        line = [
            {"text": published, "note": infinite},
            {"text": f"{row['pearson']:+.4f}"},
            {"text": f"{row['n_finite']:.0f}"},
            {"text": f"{row['spearman']:+.4f}"},
            {"text": f"{row['spearman_low']:+.2f} to {row['spearman_high']:+.2f}"},
        ]
        rows.append(({"model": row["model"], "measure": spec.words[row["key"]]}, line))
    heads = ["r, as published", "r", "finite runs", "rho", "95 % interval"]
    undefined = wide["pearson_published"].astype(object).fillna("nan")
    csv = wide.assign(pearson_published=undefined)
    return table(spec, "search_correlations", ["model", "measure"], heads, rows, csv)


def comparisons_table(spec: StudySpec, compared: pd.DataFrame) -> Table:
    """Differences between levels, in points of percent; bold where larger than their noise."""
    rows = []
    for row in compared.to_dict("records"):
        difference = percent(row["difference"], row["verdict"] == LARGER) | {"signed": True}
        interval = f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
        floor, p = percent(row["floor"]), {"text": f"{row['p_holm']:.4f}"}
        pair = f"{row['second']} - {row['first']}"
        names = {"model": row["model"], "factor": spec.words[row["factor"]], "pair": pair}
        rows.append((names, [difference, {"text": interval}, floor, p, {"text": row["verdict"]}]))
    heads = ["difference", "95 % interval", "floor", "p", "verdict"]
    return table(spec, "search_comparisons", ["model", "factor", "pair"], heads, rows, compared)


def dependence_table(spec: StudySpec, dependence: pd.DataFrame) -> Table:
    """Mean accuracy at each level of each factor, with its interval."""
    rows = []
    for row in dependence.to_dict("records"):
        interval = {"text": f"{100 * row['low']:.2f} to {100 * row['high']:.2f}"}
        factor = spec.words[row["factor"]]
        names = {"model": row["model"], "factor": factor, "level": row["level"]}
        rows.append((names, [percent(row["mean"]), interval]))
    labels, heads = ["model", "factor", "level"], ["mean", "95 % interval"]
    return table(spec, "search_dependence", labels, heads, rows, dependence)


def variance_table(spec: StudySpec, shares: pd.DataFrame) -> Table:
    """Shares of the variance, a column per term."""
    wide = by_term(shares)
    heads = [term_label(spec, term) for term in wide]
    rows = [
        ({"model": model}, [{"text": f"{100 * share:.1f} %"} for share in np.clip(line, 0, None)])
        for model, line in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return table(spec, "search_variance", ["model"], heads, rows, shares)


def by_term(shares: pd.DataFrame) -> pd.DataFrame:
    """Shares of the variance, a row per model and a column per term, in their order."""
    wide = shares.pivot_table(index="model", columns="term", values="share")
    return wide.reindex(index=shares["model"].unique(), columns=shares["term"].unique())


def term_label(spec: StudySpec, term: str) -> str:
    """A factor or a pair of factors as readers know them."""
    return " x ".join(spec.words.get(part, part) for part in term.split(" x "))
