"""The published order study: its percentages checked, its order effect, its defects said."""

import shutil

import numpy as np
import pandas as pd
import pytest

from meltpoint.analysis.operation_order import order_effect
from meltpoint.data.published import FOLDER
from meltpoint.errors import MeltpointError
from meltpoint.published.operation_order import discrepancies, figures, write
from meltpoint.published.operation_order.read import (
    METRICS,
    OPERATIONS,
    SUBJECTS,
    read_study,
    stderr,
)
from meltpoint.published.operation_order.tables import changes_table, effect_table, scores_table
from meltpoint.published.specs import study as spec_of
from meltpoint.tables.markup import to_markdown

SPEC = spec_of("operation_order")

WRONG = {
    ("sequence_vs_original", "dense", "P>F>Q", "lawbench"): "6.75 instead of 6.74",
    ("pruning_comparison", "F", "F>P", "stem"): "the change from dense, not from F",
}
# Compatible with scores that print as these do, but not what the printed scores give.
ROUNDED = {
    ("sequence_vs_original", "dense", "P", "lawbench"),
    ("sequence_vs_original", "dense", "P>Q", "lawbench"),
    ("sequence_vs_original", "dense", "Q>F", "lawbench"),
    ("sequence_vs_original", "dense", "Q>P", "lawbench"),
    ("sequence_vs_original", "dense", "F>Q", "stem"),
    ("sequence_vs_original", "dense", "F>P>Q", "stem"),
    ("sequence_vs_original", "dense", "Q>F>P", "lawbench"),
    ("fine_tuning_comparison", "P", "P>F", "lawbench"),
    ("pruning_comparison", "dense", "P", "lawbench"),
    ("pruning_comparison", "F", "F>P", "lawbench"),
    ("pruning_comparison", "Q>F", "Q>F>P", "lawbench"),
    ("pruning_comparison", "F>Q", "F>Q>P", "mmlu_law"),
    ("quantization_comparison", "F", "F>Q", "stem"),
}
KEYS = ["table", "from_sequence", "to_sequence", "metric"]


@pytest.fixture(scope="module")
def study():
    return read_study()


@pytest.fixture(scope="module")
def changes(study):
    return discrepancies.check_changes(study)


def keys(changes):
    return set(changes[KEYS].itertuples(index=False, name=None))


def test_exactly_two_percentages_are_wrong(changes):
    wrong = changes[~changes["agrees"]]
    assert keys(wrong) == set(WRONG)
    for row in wrong.itertuples():
        assert WRONG[row.table, row.from_sequence, row.to_sequence, row.metric] in row.note


def test_the_rest_agrees_as_printed_or_within_rounding(changes):
    assert changes["agreement"].value_counts().to_dict() == {"printed": 66, "rounding": 13, "no": 2}
    assert keys(changes[changes["agreement"] == "rounding"]) == ROUNDED
    both = changes.dropna(subset="published_change_abs")
    assert len(both) == 30
    np.testing.assert_allclose(both["change_abs"], both["published_change_abs"], atol=1e-9)


def test_changes_keep_the_published_rows(study, changes):
    pd.testing.assert_frame_equal(changes[KEYS], study.published[KEYS])
    assert changes["change_pct"].iloc[3] == pytest.approx(100 * (15.53 - 7.85) / 7.85)


def test_what_unrounded_scores_give_is_never_called_wrong():
    draws = np.random.default_rng(0).uniform(0.1, 20, size=(2, 20_000))
    printed = np.round(100 * (draws[1] / draws[0] - 1), 2)
    low, high = discrepancies.percentages(*np.round(draws, 2))
    assert ((low <= printed + discrepancies.HALF) & (printed - discrepancies.HALF <= high)).all()
    # And what the nearest other printed score gives is told apart where the scores are not tiny.
    off = 100 * ((np.round(draws[1], 2) + 0.03) / np.round(draws[0], 2) - 1)
    large = draws.min(axis=0) > 5
    apart = (off - discrepancies.HALF > high) | (off + discrepancies.HALF < low)
    assert apart[large & (draws[1] < draws[0])].all()


def test_standard_errors_are_those_of_simulated_tests():
    sizes, rate = np.array(SUBJECTS["stem"]), 0.05
    draws = np.random.default_rng(0).binomial(sizes, rate, size=(20_000, len(sizes)))
    scores = 100 * (draws / sizes).mean(axis=1)
    assert stderr("stem", 100 * rate) == pytest.approx(scores.std(), rel=0.03)
    assert sizes.sum() == 3153
    assert np.isnan(stderr("lawbench", 5.0))


def test_order_effect_compares_the_same_operations(study):
    effect = order_effect(study.scores, OPERATIONS)
    for row in effect.itertuples():
        assert sorted(row.first.split(">")) == sorted(row.second.split(">"))
    first = effect.set_index(["first", "second", "metric"])
    assert first.loc[("P>Q", "Q>P", "lawbench"), "difference"] == pytest.approx(3.30 - 1.13)
    assert first.loc[("P>F", "F>P", "stem"), "difference"] == pytest.approx(2.51 - 5.26)
    assert first.loc[("Q>F", "F>Q", "mmlu_law"), "difference"] == pytest.approx(5.29 - 3.52)
    assert set(effect["steps"]) == {2, 3}
    missing = effect[effect["status"] == "not_applicable"]
    assert missing["reason"].str.contains("LoRA").all()
    assert missing["difference"].isna().all()
    assert {"Q>P>F", "P>Q>F"} <= {*missing["first"], *missing["second"]}


def test_tables_flag_what_is_wrong_and_say_the_defects(study, changes):
    printed = {
        f"order_{name}": to_markdown(changes_table(SPEC, name, study, changes))
        for name in dict.fromkeys(changes["table"])
    }
    assert (
        "-19.81 is printed, which is the change from dense" in printed["order_pruning_comparison"]
    )
    assert "would fit a score of 6.75" in printed["order_sequence_vs_original"]
    assert "wrong in the source" not in printed["order_quantization_comparison"]
    assert printed["order_sequence_vs_original"].count("N/A<sup>") == 2
    scored = to_markdown(scores_table(SPEC, study))
    assert "sizes of P and Q are exchanged" in scored
    assert scored.count("N/A<sup>") == 2
    for text in (
        *printed.values(),
        scored,
        to_markdown(effect_table(SPEC, order_effect(study.scores, OPERATIONS))),
    ):
        assert "far below chance" in text


def test_bars_are_the_recomputed_changes(study, changes):
    figure = figures.draw_changes(SPEC, study, changes, "pruning_comparison")
    for ax, metric in zip(figure.axes, METRICS, strict=True):
        own = changes[(changes["table"] == "pruning_comparison") & (changes["metric"] == metric)]
        bars = {
            round(bar.get_center()[1]): bar.get_width() for bar in ax.patches if bar.get_width()
        }
        np.testing.assert_allclose([bars[row] for row in sorted(bars)], own["change_pct"])
    diamonds = [
        x for ax in figure.axes for d in ax.lines if d.get_marker() == "D" for x in d.get_xdata()
    ]
    assert diamonds == [-19.81]


def test_sequences_without_scores_are_drawn_as_words(study, changes):
    figure = figures.draw_changes(SPEC, study, changes, "sequence_vs_original")
    said = [t.get_text() for t in figure.axes[0].texts]
    assert said.count("not applicable") == 2
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[-2:] == ["Q→P→F", "P→Q→F"]


def test_files_are_those_that_the_page_shows(tmp_path):
    write.write(tmp_path)
    for item in SPEC.items():
        assert item.files
        assert all((tmp_path / file).is_file() for file in item.files)
    lines = (tmp_path / "order/changes.csv").read_text().splitlines()
    assert lines[0].startswith(
        "table,from_sequence,to_sequence,metric,change_abs,change_pct,"
        "published_change_abs,published_change_pct,agrees"
    )
    assert len(lines) == 82
    assert "pruning_comparison,F,F>P,stem,-1.18,-31.97832,-1.18,-19.81,false" in lines[56]
    assert "fine_tuning_comparison,Q,Q>F,stem,0.08,2.209945,,2.21,true" in lines[50]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("scores", "P,5.77,", "P,high,", r"scores.*row 4.*'lawbench'.*'high'"),
        ("scores", "P,5.77,", "P,,", r"scores.*row 4.*'lawbench'.*applicable"),
        ("scores", "stem,", "steem,", r"scores.*'stem': it is missing"),
        ("scores", "Q,4.44,", "P,4.44,", r"scores.*row 5.*P"),
        ("published_changes", "dense,F,lawbench", "dense,X,lawbench", r"row 5.*'to_sequence'.*'X'"),
        ("published_changes", "dense,F,stem", "dense,F,physics", r"row 6.*physics"),
        ("published_changes", "pruning_comparison,Q,", "pruned,Q,", r"row 59.*'table'.*'pruned'"),
        ("published_changes", "97.83", "97.83 %", r"row 5.*'change_pct'.*97.83 %"),
    ],
)
def test_a_malformed_table_is_one_sentence(tmp_path, name, old, new, message):
    for source in SPEC.sources["changes"]:
        shutil.copy(FOLDER / f"{source}.csv", tmp_path)
    path = tmp_path / f"opseq_{name}.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(MeltpointError, match=message) as caught:
        read_study(tmp_path)
    assert "\n" not in str(caught.value)
