"""The published parameter search: what its summary says, from the runs.

135 runs: 3 models, 3 pruning methods, 5 calibration lengths, 3 numbers of calibration samples.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from meltpoint.data.published import FOLDER
from meltpoint.data.published.frames import read
from meltpoint.errors import MeltpointError

# Test sets: the published accuracies are exact fractions of these numbers of questions.
TASKS = {
    **{"boolq": 3270, "piqa": 1838, "hellaswag": 10042, "winogrande": 1267},
    **{"arc_easy": 2376, "arc_challenge": 1172, "openbookqa": 500},
}
ACCURACIES = [f"acc_{task}" for task in TASKS]
MODELS = ("Llama", "Mistral", "Qwen")
METHODS = ("taylor", "layerwise", "blockwise")
FACTORS = {
    "method": "pruning_method",
    "seq_len": "taylor_seq_len",
    "num_samples": "taylor_num_samples",
}
GRADIENTS = ["grad_mean_ratio", "grad_norm_ratio", "grad_mean_range", "grad_norm_range"]
MEASURES = [*GRADIENTS, "extreme_pruning_layers", "ppl"]
STATISTICS = {
    **{"mean": "mean", "std": lambda values: values.std(ddof=0)},
    **{"min": "min", "max": "max", "count": "count"},
}
SUMMARY = ["model", "section", "key", "statistic", "value"]
GRID = ["taylor_seq_len", "taylor_num_samples"]


def read_search(folder: Path = FOLDER) -> pd.DataFrame:
    """The runs.

    Raises MeltpointError for an unknown or missing model, an unknown method, a mean accuracy that is
    not the mean of the seven tasks.
    """
    frame = read("hgsp_search", folder)
    for column, known in (("model", MODELS), ("pruning_method", METHODS)):
        for index in frame.index[~frame[column].isin(known)]:
            problem = f"{frame[column][index]!r} is none of {', '.join(known)}"
            fail("hgsp_search", index, column, problem)
    for model in set(MODELS) - set(frame["model"]):
        raise MeltpointError(f"hgsp_search.csv, column 'model': no row is of {model}")
    means = frame[ACCURACIES].mean(axis=1)
    for index in frame.index[(means - frame["acc_mean"]).abs() > 1e-9]:
        problem = (
            f"{frame['acc_mean'][index]:.6g} is not the mean of the seven tasks, {means[index]:.6g}"
        )
        fail("hgsp_search", index, "acc_mean", problem)
    return frame


def summarise(frame: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The summary in long form: model, section, key, statistic, value.

    Mean, population standard deviation, minimum, maximum and count of the mean accuracy by method,
    length, samples and number of extreme layers; correlations with it; the row of the best accuracy
    and that of the lowest perplexity. `draws` and `seed` are those of `correlate`.
    """
    sections = FACTORS | {"extreme": "extreme_pruning_layers"}
    parts = [describe_groups(frame, name, column) for name, column in sections.items()]
    rows = []
    for model, runs in frame.groupby("model", sort=False):
        for key in MEASURES:
            found = correlate(runs, key, draws, seed)
            rows += [(model, "correlation", key, name, value) for name, value in found.items()]
        for section, best in (("best", best_run(runs)), ("lowest_ppl", lowest_ppl(runs))):
            columns = ["acc_mean", *GRID, *MEASURES, *ACCURACIES]
            rows += [(model, section, best["pruning_method"], c, float(best[c])) for c in columns]
    return pd.concat([*parts, pd.DataFrame(rows, columns=SUMMARY)], ignore_index=True)


def describe_groups(frame: pd.DataFrame, section: str, column: str) -> pd.DataFrame:
    """Statistics of the mean accuracy of each model's runs with the same value in a column."""
    order = {model: place for place, model in enumerate(frame["model"].unique())}
    sort = column != "pruning_method"
    groups = frame.groupby(["model", column], sort=sort)["acc_mean"].agg(**STATISTICS)
    long = groups.reset_index(names=["model", "key"]).melt(["model", "key"], var_name="statistic")
    long = long.sort_values("model", key=lambda names: names.map(order), kind="stable")
    return long.assign(section=section, key=long["key"].astype(str))[SUMMARY]


def correlate(runs: pd.DataFrame, key: str, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """Correlations of a measure with the mean accuracy, over the runs of one model.

    pearson: over the runs where the measure is finite; pearson_published: over all, which is NaN as
    soon as one is infinite; n_inf: how many are. spearman: over all runs, an infinity being the
    largest rank, with a 95 % interval. The three methods share a calibration batch, and with it
    their gradients, so the interval's bootstrap draws cells of the grid and not runs.
    """
    x, y = runs[key].to_numpy(float), runs["acc_mean"].to_numpy(float)
    finite = np.isfinite(x)
    low, high = spearman_interval(runs, key, draws, seed)
    pearson = float(np.corrcoef(x[finite], y[finite])[0, 1])
    return {
        "pearson": pearson,
        "pearson_published": pearson if finite.all() else np.nan,
        "n_finite": int(finite.sum()),
        "n_inf": int((~finite).sum()),
        "spearman": float(stats.spearmanr(x, y).statistic),
        **{"spearman_low": low, "spearman_high": high},
    }


def spearman_interval(runs: pd.DataFrame, key: str, draws: int, seed: int) -> tuple[float, float]:
    """A 95 % percentile interval of the rank correlation, by resampling cells of the grid."""
    cells = [cell.index for _, cell in runs.groupby(GRID)]
    size = min(map(len, cells))
    places = np.stack([runs.index.get_indexer(cell[:size]) for cell in cells])
    chosen = np.random.default_rng(seed).integers(len(cells), size=(draws, len(cells)))
    drawn = places[chosen].reshape(draws, -1)
    x, y = (stats.rankdata(runs[c].to_numpy(float)[drawn], axis=1) for c in (key, "acc_mean"))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    correlations = (x * y).sum(axis=1)[spread > 0] / spread[spread > 0]
    low, high = np.percentile(correlations, [2.5, 97.5])
    return float(low), float(high)


def best_run(runs: pd.DataFrame) -> pd.Series:
    """The run of the highest mean accuracy; of equals the first."""
    return runs.loc[runs["acc_mean"].idxmax()]


def lowest_ppl(runs: pd.DataFrame) -> pd.Series:
    """The run of the lowest perplexity; of equals the first."""
    return runs.loc[runs["ppl"].idxmin()]


def parameters(run: pd.Series) -> dict[str, int]:
    return {name: int(run[name]) for name in GRID}


def global_best(frame: pd.DataFrame) -> dict:
    """Per model the published global_best_config: the run of the best accuracy, with its tasks."""
    metrics = ["acc_mean", "ppl", "grad_norm_ratio", "grad_mean_ratio"]
    found = {}
    for model, runs in frame.groupby("model", sort=False):
        best = best_run(runs)
        found[model] = {
            **{"model": model, "pruning_method": best["pruning_method"]},
            "params": parameters(best),
            "metrics": {
                **{name: float(best[name]) for name in metrics},
                "extreme_pruning_layers": int(best["extreme_pruning_layers"]),
            },
            "tasks": {task: float(best[f"acc_{task}"]) for task in TASKS},
        }
    return found


def compare_methods(frame: pd.DataFrame) -> dict:
    """Per model and method: its best run. `best_ppl` is that run's, `lowest_ppl` the least of all."""
    found: dict[str, dict] = {}
    for (model, method), runs in frame.groupby(["model", "pruning_method"], sort=False):
        best = best_run(runs)
        found.setdefault(model, {})[method] = {
            **counts(runs),
            "best_acc": float(best["acc_mean"]),
            "best_ppl": float(best["ppl"]),
            "best_grad_norm_ratio": float(best["grad_norm_ratio"]),
            "best_params": parameters(best),
            "lowest_ppl": float(runs["ppl"].min()),
            "lowest_ppl_params": parameters(lowest_ppl(runs)),
        }
    return found


def compare_models(frame: pd.DataFrame) -> list[dict]:
    """The models by their best accuracy. `best_ppl` is what the source calls so: the perplexity of
    the run with the best accuracy; `lowest_ppl` is the least that a run of the model has."""
    found = []
    for model, runs in frame.groupby("model", sort=False):
        best, least = best_run(runs), lowest_ppl(runs)
        each = {key: correlate(runs, key) for key in GRADIENTS}
        found.append(
            {
                **{"model": model, **counts(runs), "best_method": best["pruning_method"]},
                "best_acc": float(best["acc_mean"]),
                "best_ppl": float(best["ppl"]),
                "lowest_ppl": float(least["ppl"]),
                "lowest_ppl_method": least["pruning_method"],
                "lowest_ppl_params": parameters(least),
                "correlations": {key: c["pearson_published"] for key, c in each.items()},
                "correlations_of_finite": {key: c["pearson"] for key, c in each.items()},
                "infinite": {key: c["n_inf"] for key, c in each.items()},
                "rank_correlations": {key: c["spearman"] for key, c in each.items()},
            }
        )
    return sorted(found, key=lambda model: -model["best_acc"])


def counts(runs: pd.DataFrame) -> dict[str, int]:
    return {"total_experiments": len(runs), "valid_experiments": int(runs["acc_mean"].count())}
