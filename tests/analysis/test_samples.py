"""What is kept beside cells: read, checked, and refused where two cells cannot be compared."""

from types import SimpleNamespace

import numpy as np
import pytest

from meltpoint.analysis.paired import check_size
from meltpoint.analysis.samples import (
    Sample,
    calibration_of,
    check_comparable,
    differences,
    samples_of,
    stack,
    units_of,
    with_samples,
)
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import Cell
from tests.support import kept_cells

LOSSES = kept_cells.losses()
WANDA, RIA, DENSE = (LOSSES[chain] for chain in ("wanda@0.5", "ria@0.5", "dense"))


def sample(path):
    return samples_of(path, Cell.read(path))["perplexity"]


def test_differences_have_the_value_and_the_error_of_the_cell(tmp_path):
    path = kept_cells.write(tmp_path, "wanda@0.5", WANDA, dense=DENSE)
    base = kept_cells.write(tmp_path, "dense", DENSE)
    expected = Cell.read(path).scores["perplexity"].difference
    found = differences(sample(path), sample(base))
    assert found.mean() == pytest.approx(expected.value)
    assert found.std(ddof=1) / np.sqrt(found.size) == pytest.approx(expected.stderr)


def test_the_frame_has_a_sample_for_each_score(tmp_path):
    paths = [kept_cells.write(tmp_path, c, LOSSES[c]) for c in ("dense", "wanda@0.5")]
    frame = kept_cells.frame(*paths)
    assert [each.cell.chain for each in frame["sample"]] == ["dense", "wanda@0.5"]


def test_a_missing_array_is_named(tmp_path):
    path = kept_cells.write(tmp_path, "wanda@0.5", WANDA)
    path.with_name("ppl.nll.npy").unlink()
    with pytest.raises(MeltpointError, match=r"ppl.nll.npy is missing.*delete .*ppl.json and run"):
        sample(path)


@pytest.mark.parametrize(
    "change", [lambda nll: nll[:-1], lambda nll: nll[:, :-1] * 1.1, lambda nll: nll.ravel()]
)
def test_an_array_of_another_shape_or_of_other_values_is_named(tmp_path, change):
    path = kept_cells.write(tmp_path, "wanda@0.5", WANDA)
    file = path.with_name("ppl.nll.npy")
    np.save(file, change(np.load(file)))
    with pytest.raises(MeltpointError, match=r"ppl.nll.npy is not what .*ppl.json was made of"):
        sample(path)


def test_a_broken_array_is_named(tmp_path):
    path = kept_cells.write(tmp_path, "wanda@0.5", WANDA)
    path.with_name("ppl.nll.npy").write_bytes(b"no array")
    with pytest.raises(MeltpointError, match=r"ppl.nll.npy cannot be read"):
        sample(path)


def test_an_infinite_score_has_no_sample(tmp_path):
    path = kept_cells.write(tmp_path, "wanda@0.5", np.r_[WANDA[:-1], np.inf])
    frame = with_samples(kept_cells.frame(path), [path])
    assert frame["sample"].tolist() == [None]


@pytest.mark.parametrize(
    ("key", "value"),
    [("engine", "llama.cpp"), ("dtype", "float16"), ("window", 4), ("perplexity", "other")],
)
def test_protocols_that_differ_are_refused(tmp_path, key, value):
    first = sample(kept_cells.write(tmp_path, "wanda@0.5", WANDA))
    other = kept_cells.write(tmp_path, "gguf@q4_k_m", RIA)
    cell = Cell.read(other)
    second = type(first)(
        first.scores, cell.model_copy(update={"protocol": cell.protocol | {key: value}})
    )
    pattern = rf"demo/wanda@0.5/ppl and demo/gguf@q4_k_m/ppl cannot .* key '{key}' is .*{value}"
    with pytest.raises(MeltpointError, match=pattern):
        check_comparable(first, second)


def test_pairs_of_two_models_are_refused(tmp_path):
    first = sample(kept_cells.write(tmp_path, "wanda@0.5", WANDA))
    second = sample(kept_cells.write(tmp_path, "wanda@0.5", WANDA, model="other"))
    with pytest.raises(
        MeltpointError, match=r"demo/.* and other/.*: pairs are made within a model"
    ):
        differences(first, second)


def test_draws_are_paired_by_their_seeds(tmp_path):
    of_seed = {
        seed: sample(kept_cells.write(tmp_path, f"wanda@0.5,seed={seed}", WANDA + 0.01 * int(seed)))
        for seed in "012"
    }
    first = stack(of_seed)
    second = stack({seed: of_seed[seed] for seed in "210"})
    np.testing.assert_array_equal(differences(first, second), 0 * first.scores)
    single = sample(kept_cells.write(tmp_path, "magnitude@0.5", WANDA))
    assert differences(first, single).shape == (3, len(WANDA))
    others = stack({"7": of_seed["0"], "8": of_seed["1"]})
    with pytest.raises(MeltpointError, match="share 0 of their seeds"):
        differences(first, others)


def test_calibrations_in_words(tmp_path):
    windows = {"samples": 64, "length": 256, "corpus": "docs", "sampling": "stream", "seed": 3}
    path = kept_cells.write(tmp_path, "wanda@0.5", WANDA, calibration=windows)
    expected = "64 windows of 256 tokens of docs, stream, seed 3"
    assert calibration_of(sample(path)) == expected
    assert calibration_of(sample(kept_cells.write(tmp_path, "magnitude@0.5", WANDA))) == ""


def test_units_are_named_after_what_is_kept():
    one = {
        kind: Sample(np.zeros((1, 5)), SimpleNamespace(kind=kind))
        for kind in ("tasks", "perplexity")
    }
    assert units_of([one["perplexity"], None]) == "windows"
    assert units_of([one["tasks"]]) == "documents"
    assert units_of(one.values()) == "windows or documents"
    with pytest.raises(MeltpointError, match=r"4 documents are too few .* use more of them"):
        check_size(np.zeros((1, 4)), "a and b", units_of([one["tasks"]]))
