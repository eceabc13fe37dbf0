"""Paired tests: how often they are wrong, on window losses that are drawn anew from real cells."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from meltpoint.analysis import paired
from meltpoint.analysis.significance import holm
from meltpoint.errors import MeltpointError
from tests.support.kept_cells import losses

LOSSES = losses()
# The windows' differences of the second pair have an excess kurtosis of 3.9, and a skewness of -1.1.
PAIRS = [("wanda@0.5", "ria@0.5"), ("sparsegpt@0.5", "admm@0.5"), ("rtn@4bit", "gptq@4bit")]
DRAWS = 2000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def few_patterns(monkeypatch):
    """Enough patterns of signs for a p value of 5 %."""
    monkeypatch.setattr(paired, "PATTERNS", 499)


def centred(first: str, second: str) -> np.ndarray:
    """Differences of real window losses [176], less their mean: no effect."""
    differences = LOSSES[first] - LOSSES[second]
    return differences - differences.mean()


@pytest.mark.parametrize("windows", [40, 160])
@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_without_an_effect_are_told_apart_in_five_of_a_hundred(
    pair, windows, rng, few_patterns
):
    drawn = rng.choice(centred(*pair), (1, windows, DRAWS))
    rate = (paired.p_values(drawn) < 0.05).mean()
    power = (paired.p_values(drawn + 0.01) < 0.05).mean()
    print(f"{pair}, {windows} windows: {rate:.1%} false, power of a 1 % effect {power:.1%}")
    assert 0.03 <= rate <= 0.07
    assert power > (0.9 if windows == 160 else 0.8)


def test_holm_errs_in_a_table_in_five_of_a_hundred(rng, few_patterns):
    chains = ["magnitude@0.5", "wanda@0.5", "ria@0.5", "sparsegpt@0.5", "admm@0.5"]
    centres = np.stack([LOSSES[chain] - LOSSES[chain].mean() for chain in chains])
    drawn = centres[:, rng.integers(centres.shape[1], size=(80, DRAWS))]
    first, second = np.triu_indices(len(chains), 1)
    differences = np.moveaxis(drawn[first] - drawn[second], 0, -1)
    p = paired.p_values(differences[None])
    # Without any effect Holm errs where its first step does, that of the smallest p.
    wrong = (len(first) * p.min(axis=1) < 0.05).mean()
    assert [holm(row).min() for row in p[:5]] == pytest.approx(
        np.minimum(1, len(first) * p[:5].min(axis=1))
    )
    print(f"{len(first)} pairs: at least one wrong in {wrong:.1%} of the tables")
    assert wrong <= 0.06


def test_heavy_tails_are_tested_by_sign_flips(rng):
    heavy, light = rng.standard_t(2, (1, 200)), rng.normal(size=(1, 200))
    assert paired.test_of(heavy) == paired.SIGN_FLIP
    assert paired.test_of(light) == paired.T_TEST
    assert paired.test_of(np.concatenate([heavy, heavy])) == paired.TWO_WAY


def test_one_draw_is_a_paired_t_test(rng):
    first, second = LOSSES["wanda@0.5"], LOSSES["ria@0.5"]
    expected = stats.ttest_rel(first, second)
    differences = (first - second)[None]
    assert float(paired.p_values(differences[..., None])[0]) == pytest.approx(expected.pvalue)
    low, high = paired.effect(differences).interval()
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval()))


def test_equal_chains_are_not_told_apart():
    assert paired.p_values(np.zeros((1, 20, 1))).tolist() == [1.0]


def test_fewer_than_five_windows_are_refused():
    with pytest.raises(MeltpointError, match=r"a and b: 4 windows are too few .* needs 5"):
        paired.check_size(np.zeros((1, 4)), "a and b")


# --- draws of the calibration ----------------------------------------------------------------------


@pytest.mark.parametrize("draws", [3, 5, 8])
@pytest.mark.parametrize("spread", [0, 0.3, 1, 3])
@pytest.mark.parametrize("windows", [40, 160])
def test_intervals_over_windows_and_draws_cover(draws, spread, windows, rng):
    """`spread`: the standard deviation over draws, in errors over windows."""
    by_window, rest = centred(*PAIRS[0]), centred(*PAIRS[1])
    of_draw = spread * by_window.std() / np.sqrt(windows)
    drawn = rng.normal(0, of_draw, (draws, 1, DRAWS)) + rng.choice(by_window, (1, windows, DRAWS))
    low, high = paired.effect(drawn + rng.choice(rest, (draws, windows, DRAWS))).interval()
    coverage = ((low <= 0) & (high >= 0)).mean()
    print(f"{draws} draws, {windows} windows, spread {spread}: {coverage:.1%}")
    assert 0.92 <= coverage <= 0.98


def test_the_two_components_come_back(rng):
    draws, windows = 200, 300
    of_draw, of_window = rng.normal(0, 2, (draws, 1)), rng.normal(0, 3, (1, windows))
    found = paired.effect(of_draw + of_window + rng.normal(0, 1, (draws, windows)))
    assert found.draws == pytest.approx(2 / np.sqrt(draws), rel=0.15)
    assert found.windows == pytest.approx(3 / np.sqrt(windows), rel=0.15)
    assert found.stderr == pytest.approx(np.hypot(found.draws, found.windows))


def test_draws_that_do_not_differ_add_nothing(rng):
    of_window = rng.normal(size=(1, 50))
    found = paired.effect(np.repeat(of_window, 3, axis=0) + 1e-9 * rng.normal(size=(3, 50)))
    assert found.stderr == pytest.approx(paired.effect(of_window).stderr, rel=1e-3)
    assert found.draws == pytest.approx(0, abs=1e-8)


# --- equivalence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [40, 160])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_loss_at_the_margin_is_called_lossless_in_five_of_a_hundred(pair, windows, rng):
    differences = centred(*pair)
    margin = 4 * differences.std() / np.sqrt(windows)
    drawn = rng.choice(differences, (1, windows, DRAWS))
    within, beyond = paired.equivalence_p(paired.effect(drawn + margin), margin)
    power = (paired.equivalence_p(paired.effect(drawn), margin)[0] < 0.05).mean()
    expected = paired.equivalence_power(
        0, differences.std() / np.sqrt(windows), windows - 1, margin
    )
    print(f"{pair}, {windows}: {(within < 0.05).mean():.1%} false, power {power:.1%}")
    assert 0.03 <= (within < 0.05).mean() <= 0.07
    assert (beyond < 0.05).mean() <= 0.07
    assert power == pytest.approx(expected, abs=0.04)


def test_equivalence_is_that_of_statsmodels():
    first, second = LOSSES["gptq@4bit"], LOSSES["dense"]
    found = paired.effect((first - second)[None])
    expected = ttost_paired(first, second, -0.005, 0.005)[0]
    assert float(paired.equivalence_p(found, 0.005)[0]) == pytest.approx(expected)


def test_the_margin_that_can_be_shown_has_the_power():
    found = paired.effect((LOSSES["gptq@4bit"] - LOSSES["dense"])[None])
    margin = paired.margin_shown(found)
    power = paired.equivalence_power(0, float(found.stderr), float(found.freedom), margin)
    assert power == pytest.approx(paired.POWER, abs=1e-6)


def test_the_windows_needed_have_the_power():
    differences = (LOSSES["gptq@4bit"] - LOSSES["dense"])[None]
    found = paired.effect(differences)
    margin = 2 * abs(float(found.value))
    needed = paired.windows_needed(differences, margin)
    for count, enough in ((needed, True), (needed - 1, False)):
        stderr = float(found.stderr) * np.sqrt(176 / count)
        power = paired.equivalence_power(float(found.value), stderr, count - 1, margin)
        assert (power >= paired.POWER) == enough
    assert paired.windows_needed(differences, abs(float(found.value)) / 2) is None


def test_no_number_of_windows_takes_away_the_error_over_draws(rng):
    draws = np.array([[0.0], [0.4], [-0.4]]) + 0.01 * rng.normal(size=(3, 40))
    assert paired.windows_needed(draws, 0.1) is None


# --- documents -------------------------------------------------------------------------------------


def test_flips_count_both_ways():
    first = [True] * 6 + [False] * 4
    second = [False] * 1 + [True] * 5 + [True] * 2 + [False] * 2
    changed = paired.flips(first, second)
    assert (changed.lost, changed.gained, changed.share) == (1, 2, 0.3)


def test_mcnemar_is_a_binomial_test_of_the_documents_that_changed():
    first = [True] * 70 + [False] * 30
    second = [True] * 60 + [False] * 10 + [True] * 2 + [False] * 28
    assert paired.mcnemar_p(first, second) == pytest.approx(stats.binomtest(2, 12).pvalue)
    assert paired.mcnemar_p(first, first) == 1


def test_answers_to_other_documents_are_refused():
    with pytest.raises(MeltpointError, match="answers to 3 and to 2 documents cannot be paired"):
        paired.flips([True] * 3, [True] * 2)


def test_checkpoints_that_are_equal_in_all_draws_are_lossless():
    found = paired.effect(np.zeros((3, 10)))
    assert [float(p) for p in paired.equivalence_p(found, 0.01)] == [0.0, 1.0]
    assert found.interval() == (0, 0)
