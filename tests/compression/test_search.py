"""A method's search: its file, what the steps read from it, and what becomes of it where it fails."""

import hashlib

import numpy as np
import pytest
import torch

from meltpoint.checkpoints.description import Description
from meltpoint.compression.resume import resume_folder
from meltpoint.compression.search import read_result, search, write_result
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.methods import Method
from tests.support.methods import ladder
from tests.support.plugins import method_module, register_method
from tests.support.specs import compress_spec, search_spec
from tests.support.tiny_models import random_tokens, save_model

RESULTS = {
    ".json": {"order": [3, 1, 2], "losses": {"first": 1.5}},
    ".npz": {"order": [3, 1], "scores": np.arange(6.0).reshape(2, 3), "norms": torch.ones(2)},
}
# It searches for the sum of all weights, and removes nothing.
SUMS = '''
"""Sums: nothing is removed."""

import numpy as np

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.methods.settings import MethodSettings

kind = "finetuning"
levels = ()
env = "torch"
search_format = "npz"
SEEN = {}


class Settings(MethodSettings):
    """None."""


def search(source, settings, context):
    """Ones, or nothing where the folder's name says so."""
    if "hopeless" in str(source):
        raise NotApplicable("there is nothing to sum")
    return {"sums": np.ones(3), "windows": context.windows}


def compress(source, target, level, settings, context):
    """Notes what it was handed."""
    SEEN.update(context.search, resume=context.resume)
    raise NotApplicable("nothing was to be done")
'''


@pytest.fixture
def windows(tmp_path):
    np.save(tmp_path / "windows.npy", random_tokens(4, 16).numpy())
    return tmp_path / "windows.npy"


@pytest.fixture
def searched(monkeypatch, tmp_path, windows) -> Method:
    monkeypatch.chdir(tmp_path)
    return register_method(monkeypatch, ladder)


def run_search(base, target, windows, spelling="ladder"):
    """Runs a search as its script does."""
    settings = {"calibration": "default", "windows": {"file": "windows.npy"}}
    search(base, target, search_spec(spelling, settings), [windows], Compute(device="cpu"))
    return target


def run_step(parent, target, spelling, windows, found=None):
    settings = {"calibration": "default", "windows": {"file": "windows.npy"}}
    spec = compress_spec(spelling, settings)
    compress(parent, target, spec, [windows], Compute(device="cpu"), found)
    return Description.read(target)


@pytest.mark.parametrize("ending", RESULTS)
def test_what_is_written_is_read_again(ending, tmp_path):
    write_result(tmp_path / f"x{ending}", RESULTS[ending])
    result = read_result(tmp_path / f"x{ending}")
    assert result.keys() == RESULTS[ending].keys()
    assert all(np.array_equal(result[key], np.asarray(RESULTS[ending][key])) or
               result[key] == RESULTS[ending][key] for key in result)  # fmt: skip


@pytest.mark.parametrize("ending", RESULTS)
def test_the_same_result_has_the_same_bytes(ending, tmp_path):
    digests = set()
    for n in range(2):
        write_result(tmp_path / f"{n}{ending}", RESULTS[ending])
        digests.add(hashlib.sha256((tmp_path / f"{n}{ending}").read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
@pytest.mark.parametrize("ending", RESULTS)
def test_a_truncated_file_is_refused_in_one_sentence(ending, share, tmp_path):
    path = tmp_path / f"x{ending}"
    write_result(path, RESULTS[ending])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MeltpointError, match="truncated or broken: delete it and run") as error:
        read_result(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_array_in_json_is_refused(tmp_path):
    with pytest.raises(MeltpointError, match=r"the array 'scores'.*search_format = \"npz\""):
        write_result(tmp_path / "x.json", RESULTS[".npz"])
    assert not list(tmp_path.iterdir())


def test_levels_read_one_search(searched, windows, tmp_path):
    base = save_model(tmp_path / "base", "llama")
    found = run_search(base, tmp_path / "ladder.json", windows)
    again = run_search(base, tmp_path / "again.json", windows)
    assert found.read_bytes() == again.read_bytes()
    assert read_result(found)["tokens"] == 4 * 16
    for level in ("0.25", "0.5"):
        step = f"ladder@{level}"
        description = run_step(base, tmp_path / step, step, windows, found)
        assert description.achieved.zeros == pytest.approx(float(level), abs=0.005)
    assert (tmp_path / "searches.log").read_text() == "1\n1\n"


def test_a_checkpoint_that_a_search_cannot_start_from_is_a_reason(searched, windows, tmp_path):
    base = save_model(tmp_path / "base", "llama")
    parent = tmp_path / "parent"
    assert run_step(base, parent, "wanda@3of7", windows).status == "not_applicable"
    found = run_search(parent, tmp_path / "ladder.json", windows)
    with pytest.raises(NotApplicable, match="multiples of 7"):
        read_result(found)
    assert "multiples of 7" in run_step(parent, tmp_path / "x", "ladder@0.5", windows, found).reason


def test_arrays_and_reasons_reach_a_method_of_whole_checkpoints(monkeypatch, windows, tmp_path):
    method = register_method(monkeypatch, method_module("sums", SUMS))
    base = save_model(tmp_path / "base", "llama")
    found = run_search(base, tmp_path / "sums.npz", windows, "sums")
    assert run_step(base, tmp_path / "x", "sums", windows, found).status == "not_applicable"
    assert method.module.SEEN["sums"].tolist() == [1, 1, 1]
    assert method.module.SEEN["windows"] is None
    hopeless = save_model(tmp_path / "hopeless", "llama")
    found = run_search(hopeless, tmp_path / "none.npz", windows, "sums")
    description = run_step(hopeless, tmp_path / "y", "sums", windows, found)
    assert description.reason == "there is nothing to sum"


def killed_job(target, spec):
    """A job that is killed after it has kept something."""
    with resume_folder(target, spec) as folder:
        folder.mkdir(exist_ok=True)
        (folder / "done").touch()
        raise KeyboardInterrupt


def test_what_a_killed_job_has_done_is_there_for_the_same_job_alone(tmp_path):
    target, spec = tmp_path / "checkpoint", "one"
    with pytest.raises(KeyboardInterrupt):
        killed_job(target, spec)
    with resume_folder(target, spec) as folder:
        assert (folder / "done").exists()
    assert not folder.exists()
    with pytest.raises(KeyboardInterrupt):
        killed_job(target, spec)
    with resume_folder(target, "another") as other:
        assert not folder.exists()
        assert not other.exists()
