"""Export: an ordinary folder that plain transformers reads, with the checkpoint's logits."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from meltpoint import methods
from meltpoint.checkpoints.description import Description
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.export.__main__ import main
from meltpoint.export.ordinary_folder import export
from meltpoint.model.load import load
from tests.support.shape_chains import ONLY, registered_shape_methods, unique
from tests.support.steps import SHAPE_KINDS, run, weights
from tests.support.tiny_models import random_tokens, save_model

FAMILIES = ("llama", "mistral", "qwen2", "opt")
IDS = random_tokens(2, 20, seed=4)
REGISTERED = [name for name, m in methods.registry().items() if m.kind in SHAPE_KINDS]
# Whatever these leave, every architecture can hold it.
EXACT = [
    "factor_shapes@0.3",
    f"cut_shapes@0.3,{unique(f'{ONLY},heads=true,neurons=true')}",
    f"cut_shapes@0.3,{unique(f'{ONLY},heads=true,neurons=true,depth=true')}",
    f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true,empty=true')}",
    f"cut_shapes@0.5,{unique(f'{ONLY},heads=true,expand=true')}",
    f"cut_shapes@0.5,{unique(f'{ONLY},neurons=true,heads=true,even=true')}",
    f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true')}+factor_shapes@0.3",
    "factor_shapes@0.3+wanda@0.5",
    "wanda@0.5+rtn@4bit",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    np.save(folder / "windows.npy", random_tokens(6, 48).numpy())
    with registered_shape_methods():
        yield folder


@pytest.fixture(scope="module")
def made(place):
    """The checkpoint of a family's chain, each made once."""

    def make(family, chain=""):
        target = place / f"{family}-{chain}"
        if target.exists():
            return target
        if not chain:
            kinds = {"layer_types": None} if family == "qwen2" else {}
            return save_model(target, family, num_hidden_layers=6, **kinds)
        prefix, _, step = chain.rpartition("+")
        return run(make(family, prefix), target, step, place / "windows.npy")

    return make


def check_same_logits(checkpoint, target):
    """That plain transformers computes from the exported folder what we do from the checkpoint."""
    assert not (target / "meltpoint.json").exists()
    model = AutoModelForCausalLM.from_pretrained(target, dtype="float32").eval()
    with torch.no_grad():
        expected = load(checkpoint, torch.float32, torch.device("cpu"))(IDS).logits
        torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chain", EXACT)
def test_an_exported_folder_has_the_same_logits(chain, family, made, tmp_path):
    checkpoint = made(family, chain)
    export(checkpoint, tmp_path / "target")
    check_same_logits(checkpoint, tmp_path / "target")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", REGISTERED)
def test_each_method_is_exported_or_says_why_not(name, family, made, tmp_path, capsys):
    checkpoint = made(family, f"{name}@0.3")
    if reason := Description.read(checkpoint).reason:
        pytest.skip(reason)
    status = main([str(checkpoint), str(tmp_path / "target")])
    if status == 0:
        check_same_logits(checkpoint, tmp_path / "target")
        return
    # The factors of a linear always have a product.
    assert methods.find(name).kind == "structured"
    reason = capsys.readouterr().err
    assert "no ordinary folder gives its logits: " in reason
    assert reason.count("\n") == 1
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_added_biases_need_an_architecture_that_has_them(family, made, tmp_path):
    checkpoint = made(family, f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true,biases=true')}")
    if family in ("llama", "opt"):
        export(checkpoint, tmp_path / "target")
        check_same_logits(checkpoint, tmp_path / "target")
        return
    with pytest.raises(NotApplicable, match=f"^{family} models have no bias at self_attn.o_proj"):
        export(checkpoint, tmp_path / "target")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rotated_stream_has_no_ordinary_folder(family, made, tmp_path):
    checkpoint = made(family, "cut_shapes@0.3,heads=false,depth=false")
    with pytest.raises(NotApplicable, match=r"ordinary|no bias") as raised:
        export(checkpoint, tmp_path / "target")
    if family != "opt":
        assert str(raised.value).startswith("block 0 sends the residual stream through matrices")
    assert list(tmp_path.iterdir()) == []


def test_heads_that_a_block_lacks_are_zeros(made, tmp_path):
    chain = f"cut_shapes@0.5,{unique(f'{ONLY},heads=true')}"
    export(made("llama", chain), tmp_path / "target")
    found, cut = weights(tmp_path / "target"), weights(made("llama", chain))
    name = "model.layers.0.self_attn.{}_proj.weight"
    assert found[name.format("k")].shape == (32, 64)
    assert (found[name.format("k")][16:] == 0).all()
    assert (found[name.format("o")][:, 32:] == 0).all()
    assert torch.equal(found[name.format("q")][:32], cut[name.format("q")])


def test_what_a_library_has_packed_is_decoded(made, tmp_path):
    name = next(n for n, m in methods.registry().items() if "nf4" in n)
    checkpoint = made("llama", name)
    export(checkpoint, tmp_path / "target")
    check_same_logits(checkpoint, tmp_path / "target")
    assert "quantization_config" not in json.loads((tmp_path / "target/config.json").read_text())


def test_half_precision_stays(place, made, tmp_path):
    checkpoint = run(
        made("llama"), tmp_path / "a", "svd@0.3", place / "windows.npy", dtype="bfloat16"
    )
    export(checkpoint, tmp_path / "target")
    assert {w.dtype for w in weights(tmp_path / "target").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "target/config.json").read_text())["dtype"] == "bfloat16"


def test_a_folder_that_exists_is_left_alone(made, tmp_path):
    with pytest.raises(MeltpointError, match=r"is there already: name a folder that is not$"):
        export(made("llama"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_or_none_that_applies_says_so(place, made, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(tmp_path / "target")]) == 1
    assert "empty has no meltpoint.json: name the folder" in capsys.readouterr().err
    failed = run(made("llama"), tmp_path / "failed", "svd@0.99", None)
    assert main([str(failed), str(tmp_path / "target")]) == 1
    assert "no ordinary folder gives its logits: its step did not" in capsys.readouterr().err
    assert not (tmp_path / "target").exists()


def test_the_command_exports(made, tmp_path):
    checkpoint = made("llama", "factor_shapes@0.3")
    command = [sys.executable, "-m", "meltpoint.export", checkpoint, tmp_path / "target"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{tmp_path / 'target'}: written\n", "")
    check_same_logits(checkpoint, tmp_path / "target")


def test_folders_are_checked_before_torch_is_imported(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; "
        "from meltpoint.export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, tmp_path, tmp_path / "target"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {tmp_path} has no meltpoint.json")
