"""Checkpoints: whole or absent, with an honest size, read or refused in one sentence."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from meltpoint.checkpoints.io import Reader
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.size import size
from meltpoint.files import whole_file, whole_folder, write_json
from meltpoint.model import base_models
from meltpoint.model.load import load
from tests.support.tiny_models import save_model

CPU = torch.device("cpu")


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base", "llama")


def test_a_folder_is_whole_or_absent(tmp_path):
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "a") as folder:
        shutil.copy("no such file", folder / "half")
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "a") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "a").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("whole", [whole_folder, whole_file])
def test_a_full_disk_is_one_sentence(tmp_path, whole):
    """The error is a stand-in: what a full disk raises, without one."""
    with pytest.raises(MeltpointError, match="disk is full"), whole(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_json_says_nan_and_infinity_as_strings(tmp_path):
    write_json(tmp_path / "a.json", {"a": [float("nan"), float("inf"), -float("inf"), 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": ["nan", "inf", "-inf", 1.5]}


def test_size_counts_what_is_there(base):
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name][:, ::2] = 0
    tensors["model.norm.weight"][0] = -0.0
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    total = sum(t.numel() for t in tensors.values())
    half = tensors[name].numel() // 2
    counts = size(base)
    assert counts["parameters"] == total
    assert counts["nonzeros"] == sum(int(t.count_nonzero()) for t in tensors.values())
    # The halved matrix as its half and a mask of a bit a weight, the others as they are.
    assert counts["bits_per_weight"] == pytest.approx(32 - (32 * half - 2 * half) / total)
    assert counts["bytes"] == (base / "model.safetensors").stat().st_size


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_size_knows_the_dtypes(tmp_path, dtype):
    weight = torch.tensor([[0.0, -0.0, 1.0, -2.0]], dtype=dtype)
    save_file({"w": weight}, tmp_path / "model.safetensors")
    assert size(tmp_path)["nonzeros"] == 2
    assert size(tmp_path)["parameters"] == 4


def test_a_truncated_file(base):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    for read in (lambda: load(base, torch.float32, CPU), lambda: base_models.verify(base)):
        with pytest.raises(MeltpointError, match=r"model\.safetensors.*truncated"):
            read()


def test_weights_that_are_nan(base):
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MeltpointError, match=r"layers\.1\.mlp\.up_proj.*NaN"):
        load(base, torch.float32, CPU)


def test_a_pickle_is_refused(base):
    (base / "model.safetensors").unlink()
    torch.save({}, base / "pytorch_model.bin")
    with pytest.raises(MeltpointError, match=r"pickled weights.*refs/pr/N"):
        base_models.verify(base)


def test_a_missing_tensor_and_a_wrong_shape(base):
    tensors = load_file(base / "model.safetensors")
    wrong = {**tensors, "model.norm.weight": torch.ones(3)}
    save_file(wrong, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MeltpointError, match=r"model\.norm\.weight has shape \[3\]"):
        load(base, torch.float32, CPU)
    del wrong["model.norm.weight"]
    save_file(wrong, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MeltpointError, match=r"has no model\.norm\.weight"):
        load(base, torch.float32, CPU)


def test_keys_without_the_models_prefix(tmp_path):
    """As BLOOM's and OPT's checkpoints on the hub have them."""
    base = save_model(tmp_path / "bloom", "bloom")
    tensors = load_file(base / "model.safetensors")
    bare = {key.removeprefix("transformer."): t for key, t in tensors.items()}
    ids = torch.arange(10)[None]
    with torch.no_grad():
        expected = load(base, torch.float32, CPU)(ids).logits
        save_file(bare, base / "model.safetensors", metadata={"format": "pt"})
        assert torch.equal(load(base, torch.float32, CPU)(ids).logits, expected)


def test_a_tied_weight_stored_as_the_head(tmp_path):
    """As TinyStories-656K's checkpoint has it: lm_head.weight, and no embed_tokens.weight."""
    base = save_model(tmp_path / "tied", "qwen2")
    tensors = load_file(base / "model.safetensors")
    ids = torch.arange(10)[None]
    with torch.no_grad():
        expected = load(base, torch.float32, CPU)(ids).logits
        tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
        save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
        assert torch.equal(load(base, torch.float32, CPU)(ids).logits, expected)
    assert all(linear.zeros == 0 for linear in base_models.verify(base).values())


def test_a_linked_model_is_the_folders_files(base, tmp_path):
    base_models.link(base, tmp_path / "linked", "models.mine")
    assert (tmp_path / "linked/model.safetensors").is_symlink()
    assert not (tmp_path / "linked/meltpoint.json").is_symlink()
    tensors = Reader(tmp_path / "linked", torch.float32, CPU).read(["model.norm.weight"])
    assert tensors["model.norm.weight"].isfinite().all()


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(MeltpointError, match=r"models\.mine: .* has no config\.json"):
        base_models.link(tmp_path, tmp_path / "linked", "models.mine")


def test_remote_code_is_never_run(base, tmp_path):
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "evil.Config"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(MeltpointError, match="no causal language model can be built"):
        base_models.link(base, tmp_path / "linked", "models.mine")
    assert not (tmp_path / "ran").exists()


def test_weights_beyond_the_studys_dtype_are_refused(base):
    name = "model.layers.0.mlp.up_proj.weight"
    stored = {key: t.bfloat16() for key, t in load_file(base / "model.safetensors").items()}
    stored[name][0, 0] = 1e5
    save_file(stored, base / "model.safetensors", metadata={"format": "pt"})
    assert Reader(base, torch.bfloat16, CPU).read([name])[name][0, 0] > 9e4
    with pytest.raises(MeltpointError, match=r"up_proj.weight holds NaN .* in float16"):
        Reader(base, torch.float16, CPU).read([name])


def test_two_writers_of_a_folder_cannot_mix_their_files(tmp_path):
    """The first one is not disturbed; what a killed one has left keeps nobody from writing."""
    target = tmp_path / "a"
    (tmp_path / ".a.partial").mkdir()
    (tmp_path / ".a.partial" / "half").touch()
    (tmp_path / ".a.lock").touch()
    with whole_folder(target) as first:
        (first / "one").write_text("1")
        with pytest.raises(MeltpointError, match="a is being written by another process"):
            enter(whole_folder(target))
        (first / "two").write_text("2")
    assert sorted(file.name for file in target.iterdir()) == ["one", "two"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def enter(context):
    with context:
        pass


def test_two_writers_of_a_file_each_write_a_whole_one(tmp_path):
    """The last one stays; a file that a killed process has left goes."""
    target = tmp_path / "a.json"
    (tmp_path / ".partial.0.a.json").write_text("half")
    with whole_file(target) as first, whole_file(target) as second:
        first.write_text("first")
        second.write_text("second")
        assert not (tmp_path / ".partial.0.a.json").exists()
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
