"""The analyses of a parameter search, on a search with other factors, tasks and target."""

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis import parameter_search, significance
from meltpoint.analysis.parameter_search import Search

SEARCH = Search(
    tasks={"piqa": 100},
    factors={"prior": "prior", "length": "tokens", "count": "windows"},
    gradients=("spread",),
    counts={},
    target="ppl",
    higher_is_better=False,
)


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    rows = [
        {"model": "demo", "prior": prior, "tokens": tokens, "windows": windows}
        | {"ppl": 20 + 5 * (prior == "even") + 0.01 * rng.standard_normal(), "stderr": 0.01}
        | {"acc_piqa": 0.5, "acc_mean": 0.5, "spread": float(tokens)}
        for prior in ("first", "even")
        for tokens in (16, 32, 64)
        for windows in (8, 16)
    ]
    return pd.DataFrame(rows)


def test_the_best_run_is_that_of_the_target(runs):
    best = parameter_search.best_run(runs, SEARCH)
    assert best["ppl"] == runs["ppl"].min()
    found = parameter_search.global_best(
        runs.assign(grad_norm_ratio=1.0, grad_mean_ratio=1.0, extreme_pruning_layers=0), SEARCH
    )
    assert found["demo"]["params"] == {"tokens": best["tokens"], "windows": best["windows"]}


def test_the_summary_has_the_factors_of_the_search(runs):
    summary = parameter_search.summarise(runs, SEARCH, draws=20)
    assert set(summary["section"]) == {*SEARCH.factors, "correlation", "best", "lowest_ppl"}
    means = summary.query("section == 'prior' and statistic == 'mean'").set_index("key")["value"]
    assert means["even"] - means["first"] == pytest.approx(5, abs=0.02)


def test_differences_and_shares_are_of_the_target(runs):
    compared = significance.compare_levels(runs, SEARCH.factors, SEARCH.target, draws=99)
    prior = compared.set_index("factor").loc["prior"]
    assert prior["difference"] == pytest.approx(5, abs=0.02)
    assert prior["p"] == 2 / 2**6
    shares = significance.explained(runs, SEARCH.factors, SEARCH.target).set_index("term")["share"]
    assert shares["prior"] > 0.99
    assert shares.sum() == pytest.approx(1)


def test_the_noise_floor_counts_runs_that_cannot_be_told_from_the_best(runs):
    noise = parameter_search.noise_floor(runs, SEARCH).iloc[0]
    assert 0 < noise["close"] < 6
    assert noise["repeats"] < 0.05


def test_factors_that_were_not_varied_are_left_out(runs):
    one = runs[(runs["windows"] == 8) & (runs["prior"] == "even")]
    assert significance.compare_levels(one, {"prior": "prior"}, "ppl").empty
    varied = runs[runs["windows"] == 8]
    shares = significance.explained(varied, SEARCH.factors, SEARCH.target)
    assert list(shares["term"]) == ["prior", "length", "prior x length", "remainder"]
