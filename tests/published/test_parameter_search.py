"""The published parameter search: its numbers, and what is more than noise in them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from meltpoint.analysis import parameter_search, significance
from meltpoint.analysis.significance import LARGER, NONE
from meltpoint.data.published import FOLDER
from meltpoint.errors import MeltpointError
from meltpoint.figures.heatmap_panels import draw_heatmap
from meltpoint.published.parameter_search import write
from meltpoint.published.parameter_search.figures import ACCURACY
from meltpoint.published.parameter_search.read import MODELS, SEARCH, read_search, with_stderr
from meltpoint.published.parameter_search.scatter import draw_gradients, draw_tradeoff
from meltpoint.published.specs import study as spec_of

SPEC = spec_of("parameter_search")
TARGET = (SEARCH.factors, SEARCH.target)

# As published: the best run of each model and its perplexity, to the printed digits.
BEST = {
    "Llama": ("blockwise", 64, 128, 0.5980432152155284, 13.171745300292969),
    "Qwen": ("layerwise", 128, 512, 0.616085336041312, 10.80429458618164),
    "Mistral": ("blockwise", 64, 128, 0.5946708313292756, 13.291704177856445),
}
LOWEST_PPL = {"Llama": 12.09, "Qwen": 9.84, "Mistral": 9.73}
CORRELATIONS = {
    ("Llama", "grad_mean_ratio"): 0.6971592641681356,
    ("Llama", "grad_norm_ratio"): np.nan,
    ("Llama", "grad_mean_range"): 0.46587352052765546,
    ("Llama", "grad_norm_range"): np.nan,
    ("Qwen", "grad_mean_ratio"): 0.29979690007147036,
    ("Qwen", "grad_norm_ratio"): -0.3928451613899985,
    ("Qwen", "grad_mean_range"): 0.3263151030239478,
    ("Qwen", "grad_norm_range"): 0.2804456280937824,
    ("Mistral", "grad_mean_ratio"): -0.36609645529208834,
    ("Mistral", "grad_norm_ratio"): np.nan,
    ("Mistral", "grad_mean_range"): -0.5118318340899372,
    ("Mistral", "grad_norm_range"): np.nan,
}
# Model, method, best accuracy, its perplexity, gradient norm ratio, length, samples.
METHODS = [
    ("Llama", "layerwise", 0.5712916293393089, 12.664899826049805, "inf", 256, 512),
    ("Llama", "blockwise", 0.5980432152155284, 13.171745300292969, 12.174176803043103, 64, 128),
    ("Mistral", "taylor", 0.5444460281922503, 9.725076675415039, 10.71940002699822, 64, 128),
    ("Mistral", "layerwise", 0.516691955136222, 12.101028442382812, 6.026438746294882, 16, 512),
]


@pytest.fixture(scope="module")
def frame():
    return read_search()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    write.write(folder)
    return folder


@pytest.fixture(scope="module")
def summary(written):
    return pd.read_csv(written / "search/summary.csv", dtype={"key": str})


@pytest.fixture(scope="module")
def values(summary):
    return summary.set_index(["model", "section", "key", "statistic"])["value"].sort_index()


def test_accuracies_are_fractions_of_the_test_sets(frame):
    for task, size in SEARCH.tasks.items():
        correct = frame[f"acc_{task}"] * size
        np.testing.assert_allclose(correct, correct.round(), atol=1e-6)


def test_best_runs_are_the_published_ones(written):
    best = json.loads((written / "search/global_best_config.json").read_text())
    for model, (method, length, samples, accuracy, ppl) in BEST.items():
        found = best[model]
        assert found["pruning_method"] == method
        assert found["params"] == {"taylor_seq_len": length, "taylor_num_samples": samples}
        assert found["metrics"]["acc_mean"] == pytest.approx(accuracy, rel=1e-14)
        assert found["metrics"]["ppl"] == ppl
        assert np.mean(list(found["tasks"].values())) == pytest.approx(accuracy, rel=1e-14)


def test_models_are_ranked_with_the_published_and_the_lowest_perplexity(written):
    models = json.loads((written / "search/cross_model_comparison.json").read_text())
    assert [model["model"] for model in models] == ["Qwen", "Llama", "Mistral"]
    for model in models:
        assert model["best_ppl"] == BEST[model["model"]][4]
        assert round(model["lowest_ppl"], 2) == LOWEST_PPL[model["model"]]
        assert model["total_experiments"] == model["valid_experiments"] == 45


@pytest.mark.parametrize("row", METHODS, ids=lambda row: "-".join(row[:2]))
def test_methods_are_compared_as_published(written, row):
    model, method, accuracy, ppl, ratio, length, samples = row
    found = json.loads((written / "search/method_comparison.json").read_text())[model][method]
    assert found["best_acc"] == pytest.approx(accuracy, rel=1e-14)
    assert (found["best_ppl"], found["best_grad_norm_ratio"]) == (ppl, ratio)
    assert found["best_params"] == {"taylor_seq_len": length, "taylor_num_samples": samples}


@pytest.mark.parametrize(("model", "key"), CORRELATIONS)
def test_correlations_are_the_published_ones(values, model, key):
    published = CORRELATIONS[model, key]
    found = values[model, "correlation", key]
    assert found["pearson_published"] == pytest.approx(published, rel=1e-12, nan_ok=True)
    if np.isfinite(published):
        assert found["pearson"] == pytest.approx(published, rel=1e-12)
        assert found["n_inf"] == 0
    else:
        assert abs(found["pearson"]) < 1
        assert found["n_inf"] == {"Llama": 3, "Mistral": 9}[model]
        assert found["n_finite"] + found["n_inf"] == 45


def test_groups_have_the_population_deviation_and_all_runs(values, frame):
    own = frame[(frame["model"] == "Qwen") & (frame["taylor_seq_len"] == 64)]["acc_mean"]
    found = values["Qwen", "seq_len", "64"]
    assert found["std"] == pytest.approx(np.std(own), rel=1e-12)
    assert (found["min"], found["max"], found["count"]) == (own.min(), own.max(), 9)
    for section, size in (("method", 15), ("seq_len", 9), ("num_samples", 15)):
        assert set(values[:, section, :, "count"]) == {size}
    assert values["Llama", "extreme", :, "count"].sum() == 45
    assert list(values["Llama", "extreme", :, "count"].index) == [*"01234568"]


def test_models_files_are_the_rows_of_the_source(written):
    source = (FOLDER / "hgsp_search.csv").read_text().splitlines()
    for model in MODELS:
        rows = (written / f"search/{model}_all.csv").read_text().splitlines()
        assert rows == [source[0], *(row for row in source if row.startswith(f"{model},"))]


def test_an_infinity_is_the_largest_rank(frame):
    runs = frame[frame["model"] == "Mistral"]
    large = runs.assign(grad_norm_ratio=runs["grad_norm_ratio"].replace(np.inf, 1e9))
    found, same = (parameter_search.correlate(x, SEARCH, "grad_norm_ratio") for x in (runs, large))
    assert found["spearman"] == pytest.approx(same["spearman"])
    assert found["spearman_low"] == pytest.approx(same["spearman_low"])
    assert found["spearman_low"] < found["spearman"] < found["spearman_high"]


def test_report_says_infinities_in_words(written):
    for name in ("report.txt", "report.md"):
        text = (written / "search" / name).read_text()
        assert "3 of ratio of gradient norms" in text
        assert "9 of ratio of gradient norms" in text
        assert "+0.6972" in text
        assert "0.5980 at perplexity 13.17" in text
        assert text.count("nan") == 2  # Where the text says what the source prints.
        assert "BoolQ" in text


def test_files_are_those_that_the_page_shows(written):
    for item in SPEC.items():
        assert item.files
        assert all((written / file).is_file() for file in item.files)


# --- noise --------------------------------------------------------------------------------------


def grid(effects=(0.0, 0.0, 0.0), noise=0.002, seed=0, model="Llama"):
    """A full grid whose accuracy depends on the method alone, tasks alike."""
    rng = np.random.default_rng(seed)
    rows = [
        (model, method, length, samples, 0.55 + effect + noise * rng.standard_normal())
        for method, effect in zip(("taylor", "layerwise", "blockwise"), effects, strict=True)
        for length in (16, 32, 64, 128, 256)
        for samples in (128, 256, 512)
    ]
    columns = ["model", *SEARCH.factors.values(), "acc_mean"]
    made = pd.DataFrame(rows, columns=columns)
    return made.assign(**dict.fromkeys(SEARCH.accuracies, made["acc_mean"]))


def test_a_planted_difference_is_found_and_no_other():
    found = significance.compare_levels(with_stderr(grid((0.0, 0.0, 0.04))), *TARGET)
    verdicts = found.set_index(["factor", "first", "second"])["verdict"].sort_index()
    assert verdicts["method", "taylor", "blockwise"] == LARGER
    assert verdicts["method", "layerwise", "blockwise"] == LARGER
    assert verdicts["method", "taylor", "layerwise"] == NONE
    assert not (verdicts.drop("method") == LARGER).any()
    planted = found[found["second"] == "blockwise"]
    assert ((planted["low"] < 0.04) & (planted["high"] > 0.04)).all()


def test_sign_flips_are_exact():
    assert significance.sign_flip_p(np.arange(1.0, 10)) == 2 / 2**9
    assert significance.sign_flip_p(np.array([1.0, -1.0])) == 1
    assert significance.sign_flip_p(np.full(40, 0.1)) == pytest.approx(2 / 2**16)


def test_sign_flips_keep_their_level():
    draws = np.random.default_rng(0).standard_normal((1000, 9))
    p = np.array([significance.sign_flip_p(row) for row in draws])
    assert 0.03 < (p < 0.05).mean() < 0.07


def test_holm_by_hand():
    np.testing.assert_allclose(
        significance.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]
    )
    np.testing.assert_allclose(significance.holm([0.6, 0.9]), [1, 1])
    assert significance.holm([]).size == 0


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for size in range(1, 20):
        # Tenths, so that some are equal.
        p = rng.integers(0, 11, size) / 100
        np.testing.assert_allclose(significance.holm(p), multipletests(p, method="holm")[1])


def test_standard_error_is_that_of_seven_independent_tests(frame):
    rng, rates = np.random.default_rng(0), frame[SEARCH.accuracies].iloc[0].to_numpy()
    sizes = np.array(list(SEARCH.tasks.values()))
    drawn = (rng.binomial(sizes, rates, size=(20_000, 7)) / sizes).mean(axis=1)
    assert with_stderr(frame)["stderr"][0] == pytest.approx(drawn.std(), rel=0.03)


def test_partial_dependence_is_the_marginal_mean_of_a_full_grid(frame):
    found = significance.partial_dependence(frame, *TARGET, draws=50)
    means = frame.groupby(["model", "taylor_seq_len"])["acc_mean"].mean()
    own = found[found["factor"] == "seq_len"]
    for row in own.to_dict("records"):
        assert row["mean"] == pytest.approx(means[row["model"], int(row["level"])])
        assert row["low"] < row["mean"] < row["high"]


def test_partial_dependence_is_not_led_astray_by_missing_cells():
    full = grid((0.0, 0.02, 0.05), noise=0)
    full["acc_mean"] += 0.1 * (full["taylor_seq_len"] > 100)
    few = full.drop(
        full.index[(full["pruning_method"] == "taylor") & (full["taylor_seq_len"] > 100)][:5]
    )
    found = significance.partial_dependence(few, *TARGET, draws=10).set_index(["factor", "level"])[
        "mean"
    ]
    assert found["method", "blockwise"] - found["method", "taylor"] == pytest.approx(0.05)
    assert found["seq_len", "256"] - found["seq_len", "64"] == pytest.approx(0.1)


def test_shares_of_variance_add_up(frame):
    shares = significance.explained(frame, *TARGET).set_index(["model", "term"])["share"]
    np.testing.assert_allclose(shares.groupby("model").sum(), 1)
    assert (shares > -1e-9).all()
    planted = significance.explained(grid((0.0, 0.02, 0.05), noise=0), *TARGET).set_index("term")[
        "share"
    ]
    assert planted["method"] == pytest.approx(1)


# --- figures ------------------------------------------------------------------------------------


def test_heatmaps_hold_every_run_on_one_scale_per_model(frame):
    figure = draw_heatmap(frame.assign(percent=100 * frame["acc_mean"]), ACCURACY)
    panels = [ax for ax in figure.axes if ax.texts]
    assert len(panels) == 9
    printed = sorted(text.get_text() for ax in panels for text in ax.texts)
    assert printed == sorted(f"{100 * value:.1f}" for value in frame["acc_mean"])
    limits = [ax.collections[0].get_clim() for ax in panels]
    assert [len(set(limits[i : i + 3])) for i in (0, 3, 6)] == [1, 1, 1]
    framed = [ax for ax in panels if ax.patches]
    assert len(framed) == 3


def test_scatter_plots_hold_every_run(frame):
    figure = draw_tradeoff(with_stderr(frame))
    points = sum(
        len(d.get_xdata()) for ax in figure.axes for d in ax.lines if d.get_marker() in "os^"
    )
    assert points == 135
    stars = [d for ax in figure.axes for d in ax.lines if d.get_marker() == "*"]
    assert sorted(float(star.get_ydata()[0]) for star in stars) == pytest.approx(
        sorted(100 * best[3] for best in BEST.values())
    )
    signs = [t for ax in draw_gradients(SPEC, frame).axes for t in ax.texts if t.get_text() == "∞"]
    assert len(signs) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Llama,taylor,16,", "LLaMA,taylor,16,", r"row 2.*'model'.*'LLaMA'"),
        ("Llama,taylor,16,", "Llama,tailor,16,", r"row 2.*'pruning_method'.*'tailor'"),
        ("Llama,taylor,16,", "Llama,taylor,short,", r"row 2.*'taylor_seq_len'.*'short'"),
        ("Llama,taylor,16,256,", "Llama,taylor,16,128,", r"row 3.*row 2"),
        ("32.902137756347656", "about 33", r"row 2.*'ppl'.*'about 33'"),
        ("0.4341699398919494", "0.5341699398919494", r"row 2.*'acc_mean'.*not the mean"),
        ("acc_piqa,", "piqa,", r"'acc_piqa': it is missing"),
    ],
)
def test_a_malformed_table_is_one_sentence(tmp_path, old, new, message):
    shutil.copy(FOLDER / "hgsp_search.csv", tmp_path)
    path = tmp_path / "hgsp_search.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(MeltpointError, match=message) as caught:
        read_search(tmp_path)
    assert "hgsp_search.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_without_runs_is_said(tmp_path):
    rows = (FOLDER / "hgsp_search.csv").read_text().splitlines(keepends=True)
    kept = [row for row in rows if not row.startswith("Qwen")]
    (tmp_path / "hgsp_search.csv").write_text("".join(kept))
    with pytest.raises(
        MeltpointError, match=r"hgsp_search\.csv, column 'model': no row is of Qwen"
    ):
        read_search(tmp_path)
