"""The files of a study's own parameter search, from made-up cells."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis.frame import COLUMNS
from meltpoint.analysis.search_runs import SCORES, Names, runs_of, search_of
from meltpoint.data.published.frames import read
from meltpoint.evaluations._kept import write_kept
from meltpoint.published.parameter_search import dependence, study_files, study_report

TASKS = ("arc_easy", "piqa")
LEVELS = [
    (prior, length, samples)
    for prior in ("taylor", "layerwise", "blockwise")
    for length in (16, 32)
    for samples in (128, 256, 512)
]
VARIED = {
    f"hgsp@0.2,length={length},prior={prior},samples={samples}": {
        **{"pruning_method": prior, "taylor_seq_len": length, "taylor_num_samples": samples}
    }
    for prior, length, samples in LEVELS
}
NAMES = Names("text-128", "layers", "zeroshot")
BEST = "hgsp@0.2,length=32,prior=blockwise,samples=256"


def row(chain: str, evaluation: str, score: str, value: float, main: bool = False) -> dict:
    facts = {"model": "m", "chain": chain, "evaluation": evaluation, "score": score, "main": main}
    numbers = {"value": value, "stderr": 0.1, "difference_stderr": np.nan}
    return dict.fromkeys(COLUMNS, "") | facts | numbers | {"status": "ok"}


def frame(tasks: bool = True) -> pd.DataFrame:
    """Cells of a grid whose best run is known; the dense model is among them."""
    draw, rows = np.random.default_rng(0), []
    for place, chain in enumerate(("dense", *VARIED)):
        ppl = 20 + place - 30 * (chain == BEST)
        rows.append(row(chain, "text-128", "perplexity", ppl, main=True))
        rows += [row(chain, "layers", score, draw.integers(9)) for score in SCORES]
        if tasks:
            scores = {"mean": 1 / ppl, **dict.fromkeys(TASKS, 1 / ppl)}
            rows += [row(chain, "zeroshot", name, scores[name]) for name in scores]
            rows += [row(chain, "zeroshot", f"{task}.acc", 0.1) for task in TASKS]
    return pd.DataFrame(rows)


LAYERS = [
    {"layer_idx": i, **{f"gradient_{key}": 1.0 + i for key in ("mean", "std", "norm", "max", "min")},
     "importance_attention": 1.0, "importance_mlp": 2.0 + i}
    for i in range(3)
]  # fmt: skip
COMPARISON = {
    "layer_params": {"reduction_ratio": 0.3},
    "layers": [
        {"layer_idx": i, "total": {"reduction_ratio": r}, "mlp": {"reduction_ratio": r}}
        for i, r in enumerate((0.1, 0.3, 0.5))
    ],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory, request):
    """Folder of the files, with tasks or without; drawing them takes seconds."""
    tmp_path = tmp_path_factory.mktemp("search")
    files = {
        "layer_statistics.json": LAYERS,
        "pruning_comparison.json": COMPARISON,
        "gradient_diagnosis.json": {"num_extreme_layers": 0},
    }
    kept = tmp_path / "cells/m" / BEST / "layers.analysis.jsonl"
    kept.parent.mkdir(parents=True)
    write_kept(kept, [{"file": name, "content": content} for name, content in files.items()])
    tasks = request.param
    names = NAMES if tasks else Names("text-128", "layers")
    folder = tmp_path / "search"
    study_files.write(folder, frame(tasks), tmp_path / "cells", VARIED, names, "20")
    return folder


@pytest.mark.parametrize("written", [True], indirect=True)
def test_runs_have_the_columns_of_the_published_file(written):
    runs = pd.read_csv(written / "consolidated_m_20/all_methods_results.csv")
    tasks = [f"acc_{task}" for task in TASKS]
    published = [c for c in read("hgsp_search") if not re.match("acc_(?!mean)", c)]
    behind = published.index("acc_mean") + 1
    assert list(runs) == [*published[:behind], *tasks, *published[behind:], "params_count"]
    assert len(runs) == len(VARIED)
    best = runs.loc[runs["acc_mean"].idxmax()]
    assert (best["pruning_method"], best["taylor_seq_len"]) == ("blockwise", 32)


@pytest.mark.parametrize("written", [True, False], indirect=True, ids=["accuracy", "perplexity"])
def test_the_best_run_has_files_of_its_own(written):
    best = json.loads((written / "best_m_20/best_config.json").read_text())
    assert best["chain"] == BEST
    assert best["params"] == {"taylor_seq_len": 32, "taylor_num_samples": 256}
    assert best == {
        **json.loads((written / "consolidated_m_20/global_best_config.json").read_text()),
        "chain": BEST,
    }
    analysis = json.loads((written / "best_m_20/analysis/pruning_comparison.json").read_text())
    assert analysis == COMPARISON
    for name in ("gradient_analysis", "pruning_ratio", "retention_ratio"):
        assert (written / f"best_m_20/visualization/{name}.png").stat().st_size > 1000
    (model,) = json.loads((written / "cross_model_comparison.json").read_text())
    assert model["best_method"] == "blockwise"
    report = " ".join((written / "final_analysis_report.txt").read_text().split())
    assert "blockwise, length 32, 256 samples" in report
    assert f"Chain: {BEST}." in report
    assert "Worst configuration blockwise, length 32, 512 samples" in report
    assert "Beyond the published summary" in report


@pytest.mark.parametrize("written", [False], indirect=True)
def test_what_was_not_measured_is_null(written):
    best = json.loads((written / "best_m_20/best_config.json").read_text())
    assert best["metrics"]["acc_mean"] is None
    assert best["tasks"] == {}


def test_perplexity_decides_without_tasks():
    names = Names("text-128", "layers")
    search = search_of(frame(tasks=False), names)
    runs = runs_of(frame(tasks=False), VARIED, names)
    assert (search.target, search.higher_is_better) == ("ppl", False)
    assert runs["acc_mean"].isna().all()
    assert set(runs["stderr"]) == {0.1}
    paired = frame(tasks=False).assign(difference_stderr=0.02)
    assert set(runs_of(paired, VARIED, names)["stderr"]) == {0.02}


def test_levels_are_in_the_order_of_their_size():
    """In a job's spec chains are sorted as text, where 128 comes before 16."""
    varied = dict(reversed(VARIED.items()))
    runs = runs_of(frame(tasks=False), varied, Names("text-128", "layers"))
    assert list(runs["taylor_seq_len"].unique()) == [16, 32]
    assert list(runs["taylor_num_samples"].unique()) == [128, 256, 512]


@pytest.mark.parametrize(
    ("spearman", "low", "text"),
    [(0.5, 0.1, "+0.5000 (+0.10 to +0.60)"), (0.5, np.nan, "+0.5000"), (np.nan, np.nan, "-")],
)
def test_a_rank_correlation_is_printed_as_far_as_it_is_known(spearman, low, text):
    found = {"spearman": spearman, "spearman_low": low, "spearman_high": 0.6}
    assert study_report.rank_text(found) == text


def test_perplexities_of_each_model_have_panels_of_their_own():
    factors = {"method": "taylor", "seq_len": "16", "num_samples": "128"}
    rows = [
        {"model": m, "factor": factor, "level": level, "mean": v, "low": v - 1, "high": v + 1}
        for m, v in (("small", 70.0), ("large", 300.0))
        for factor, level in factors.items()
    ]
    stderr = pd.Series({"small": 0.1, "large": 0.2})
    wording = dependence.Wording("perplexity", 1, apart=True)
    axes = dependence.draw_dependence(pd.DataFrame(rows), stderr, wording).axes
    drawn = [ax.containers[0].lines[0].get_ydata().tolist() for ax in axes]
    assert drawn == [[70.0]] * 3 + [[300.0]] * 3


def test_shares_of_variance_are_of_whole_grids():
    names = Names("text-128", "layers")
    search = search_of(frame(tasks=False), names)
    runs = runs_of(frame(tasks=False), VARIED, names)
    runs["ppl"] += np.random.default_rng(1).normal(size=len(runs))
    assert len(study_files.noise_of(runs, search)["explained"]) > 0
    assert study_files.noise_of(runs.iloc[1:], search)["explained"].empty
