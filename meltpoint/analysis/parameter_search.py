"""What a parameter search says: groups, correlations and best runs, from a frame of its runs.

The frame has a row for each run, with the columns

    model            name of the model
    {factor}         level of each factor that was varied, in the columns that `Search.factors` names
    acc_{task}       accuracy on each task, a fraction; acc_mean is their plain mean
    ppl              perplexity
    {measure}        what else was measured of the run, such as ratios of gradients

`Search` says which columns there are; its defaults are the names of the published search.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from meltpoint.analysis.significance import Z

STATISTICS = {
    **{"mean": "mean", "std": lambda values: values.std(ddof=0)},
    **{"min": "min", "max": "max", "count": "count"},
}
SUMMARY = ["model", "section", "key", "statistic", "value"]


@dataclass(frozen=True)
class Search:
    """The columns of a search's frame.

    tasks: number of test questions of each task. factors: the column of each factor by the name that
    results give it; the first is the method, the others are settings of its calibration. counts:
    columns of whole numbers that runs are grouped by besides. target: the score that makes a run the
    best.
    """

    tasks: Mapping[str, int]
    factors: Mapping[str, str] = field(
        default_factory=lambda: {
            "method": "pruning_method",
            "seq_len": "taylor_seq_len",
            "num_samples": "taylor_num_samples",
        }
    )
    gradients: tuple[str, ...] = (
        *("grad_mean_ratio", "grad_norm_ratio", "grad_mean_range", "grad_norm_range"),
    )
    counts: Mapping[str, str] = field(default_factory=lambda: {"extreme": "extreme_pruning_layers"})
    target: str = "acc_mean"
    higher_is_better: bool = True

    @property
    def accuracies(self) -> list[str]:
        """Columns of the tasks' accuracies."""
        return [f"acc_{task}" for task in self.tasks]

    @property
    def method(self) -> str:
        """Column of the method."""
        return next(iter(self.factors.values()))

    @property
    def settings(self) -> list[str]:
        """Columns of the calibration's settings: together they name a cell of the grid."""
        return list(self.factors.values())[1:]

    @property
    def measures(self) -> list[str]:
        """Columns whose correlation with the target is of interest."""
        others = [*self.gradients, *self.counts.values(), "ppl"]
        return [column for column in others if column != self.target]


def summarise(
    frame: pd.DataFrame, search: Search, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The summary in long form: model, section, key, statistic, value.

    Mean, population standard deviation, minimum, maximum and count of the target by factor and by
    count; correlations with it; the row of the best target and that of the lowest perplexity.
    `draws` and `seed` are those of `correlate`.
    """
    sections = {**search.factors, **search.counts}
    parts = [describe_groups(frame, search, name, column) for name, column in sections.items()]
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        for key in search.measures:
            found = correlate(runs, search, key, draws, seed)
            rows += [(model, "correlation", key, name, value) for name, value in found.items()]
        for section, best in (("best", best_run(runs, search)), ("lowest_ppl", lowest_ppl(runs))):
            columns = [search.target, *search.settings, *search.measures, *search.accuracies]
            rows += [(model, section, best[search.method], c, float(best[c])) for c in columns]
    return pd.concat([*parts, pd.DataFrame(rows, columns=SUMMARY)], ignore_index=True)


def describe_groups(frame: pd.DataFrame, search: Search, section: str, column: str) -> pd.DataFrame:
    """Statistics of the target over each model's runs with the same value in a column."""
    order = {model: place for place, model in enumerate(frame["model"].unique())}
    sort = pd.api.types.is_numeric_dtype(frame[column])
    groups = frame.groupby(["model", column], sort=sort)[search.target].agg(**STATISTICS)
    long = groups.reset_index(names=["model", "key"]).melt(["model", "key"], var_name="statistic")
    long = long.sort_values("model", key=lambda names: names.map(order), kind="stable")
    return long.assign(section=section, key=long["key"].astype(str))[SUMMARY]


def correlate(
    runs: pd.DataFrame, search: Search, key: str, draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """Correlations of a measure with the target, over the runs of one model.

    pearson: over the runs where the measure is finite; pearson_published: over all, which is NaN as
    soon as one is infinite; n_inf: how many are. spearman: over all runs, an infinity being the
    largest rank, with a 95 % interval. Methods share a calibration batch, and with it their
    gradients, so the interval's bootstrap draws cells of the grid of settings and not runs.
    """
    x, y = runs[key].to_numpy(float), runs[search.target].to_numpy(float)
    finite = np.isfinite(x)
    low, high = spearman_interval(runs, search, key, draws, seed)
    varies = len(np.unique(x)) > 1
    pearson = float(np.corrcoef(x[finite], y[finite])[0, 1]) if varies else np.nan
    return {
        "pearson": pearson,
        "pearson_published": pearson if finite.all() else np.nan,
        "n_finite": int(finite.sum()),
        "n_inf": int((~finite).sum()),
        "spearman": float(stats.spearmanr(x, y).statistic) if varies else np.nan,
        **{"spearman_low": low, "spearman_high": high},
    }


def spearman_interval(
    runs: pd.DataFrame, search: Search, key: str, draws: int, seed: int
) -> tuple[float, float]:
    """A 95 % percentile interval of the rank correlation, by resampling cells of the grid.

    NaN for a measure that does not vary.
    """
    cells = [cell.index for _, cell in runs.groupby(search.settings)]
    size = min(map(len, cells))
    places = np.stack([runs.index.get_indexer(cell[:size]) for cell in cells])
    chosen = np.random.default_rng(seed).integers(len(cells), size=(draws, len(cells)))
    drawn = places[chosen].reshape(draws, -1)
    x, y = (stats.rankdata(runs[c].to_numpy(float)[drawn], axis=1) for c in (key, search.target))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    correlations = (x * y).sum(axis=1)[spread > 0] / spread[spread > 0]
    if not len(correlations):
        return np.nan, np.nan
    low, high = np.percentile(correlations, [2.5, 97.5])
    return float(low), float(high)


def best_run(runs: pd.DataFrame, search: Search) -> pd.Series:
    """The run of the best target; of equals the first."""
    values = runs[search.target]
    return runs.loc[values.idxmax() if search.higher_is_better else values.idxmin()]


def lowest_ppl(runs: pd.DataFrame) -> pd.Series:
    """The run of the lowest perplexity; of equals the first."""
    return runs.loc[runs["ppl"].idxmin()]


def parameters(run: pd.Series, search: Search) -> dict[str, int]:
    """The settings of a run."""
    return {name: int(run[name]) for name in search.settings}


def global_best(frame: pd.DataFrame, search: Search) -> dict:
    """Per model the published global_best_config: the run of the best target, with its tasks."""
    metrics = ["acc_mean", "ppl", "grad_norm_ratio", "grad_mean_ratio"]
    found = {}
    for model, runs in frame.groupby("model", sort=False):
        best = best_run(runs, search)
        found[model] = {
            **{"model": model, "pruning_method": best[search.method]},
            "params": parameters(best, search),
            "metrics": {
                **{name: float(best[name]) for name in metrics},
                "extreme_pruning_layers": int(best["extreme_pruning_layers"]),
            },
            "tasks": {task: float(best[f"acc_{task}"]) for task in search.tasks},
        }
    return found


def compare_methods(frame: pd.DataFrame, search: Search) -> dict:
    """Per model and method: its best run. `best_ppl` is that run's, `lowest_ppl` the least of all."""
    found: dict[str, dict] = {}
    for (model, method), runs in frame.groupby(["model", search.method], sort=False):
        best = best_run(runs, search)
        found.setdefault(model, {})[method] = {
            **counts(runs, search),
            "best_acc": float(best["acc_mean"]),
            "best_ppl": float(best["ppl"]),
            "best_grad_norm_ratio": float(best["grad_norm_ratio"]),
            "best_params": parameters(best, search),
            "lowest_ppl": float(runs["ppl"].min()),
            "lowest_ppl_params": parameters(lowest_ppl(runs), search),
        }
    return found


def compare_models(frame: pd.DataFrame, search: Search) -> list[dict]:
    """The models by their best target, the published cross_model_comparison.

    `best_ppl` is what the source calls so: the perplexity of the run with the best target;
    `lowest_ppl` is the least that a run of the model has.
    """
    found = []
    for model, runs in frame.groupby("model", sort=False):
        best, least = best_run(runs, search), lowest_ppl(runs)
        each = {key: correlate(runs, search, key) for key in search.gradients}
        found.append(
            {
                **{"model": model, **counts(runs, search), "best_method": best[search.method]},
                "best_acc": float(best["acc_mean"]),
                "best_ppl": float(best["ppl"]),
                "lowest_ppl": float(least["ppl"]),
                "lowest_ppl_method": least[search.method],
                "lowest_ppl_params": parameters(least, search),
                "correlations": {key: c["pearson_published"] for key, c in each.items()},
                "correlations_of_finite": {key: c["pearson"] for key, c in each.items()},
                "infinite": {key: c["n_inf"] for key, c in each.items()},
                "rank_correlations": {key: c["spearman"] for key, c in each.items()},
            }
        )
    if search.higher_is_better:
        return sorted(found, key=lambda model: -model["best_acc"])
    return sorted(found, key=lambda model: model["best_ppl"])


def counts(runs: pd.DataFrame, search: Search) -> dict[str, int]:
    """Numbers of runs, and of those with a target."""
    return {"total_experiments": len(runs), "valid_experiments": int(runs[search.target].count())}


def noise_floor(frame: pd.DataFrame, search: Search) -> pd.DataFrame:
    """Noise of one run, a row for each model; `frame` has the target's `stderr`.

    stderr: of the best run's target; close: how many other runs lie within 1.96 standard errors of a
    difference from it; repeats: standard deviation over the last setting, all else being the same,
    the nearest thing to a repetition where each setting was run once.
    """
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        best, target = best_run(runs, search), runs[search.target]
        behind = (best[search.target] - target) * (1 if search.higher_is_better else -1)
        close = behind <= Z * np.hypot(runs["stderr"], best["stderr"])
        alike = target.groupby([runs[column] for column in list(search.factors.values())[:-1]])
        row = {"model": model, "best": best[search.target], "stderr": best["stderr"]}
        row |= {"close": int(close.sum()) - 1, "repeats": np.sqrt(alike.var(ddof=1).mean())}
        rows.append(row)
    return pd.DataFrame(rows)
