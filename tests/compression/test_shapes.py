"""Steps that change shapes, proved by two methods that exist for these tests alone."""

import copy
import math
import shutil
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from transformers import AutoModelForCausalLM

from meltpoint import methods
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.index import header, index
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.engines import open_engine
from meltpoint.evaluations.size import size
from meltpoint.model import base_models, empty_model
from meltpoint.model.load import load
from tests.support import cut_shapes
from tests.support.contracts import CONTRACTS, Case
from tests.support.shape_chains import CHAINS, CPU, FAMILIES, IDS, ONLY, STEPS, logits, unique
from tests.support.steps import SHAPE_LEVELS, run, spellings, weights


def held_in_memory(parent, method: ModuleType, monkeypatch, compress):
    """The model as the walk had it in memory: the blocks after the step, in the parent's model."""
    blocks, ends = [], []
    compress_block, finish = method.compress_block, getattr(method, "finish", None)

    def record(block, *arguments):
        result = compress_block(block, *arguments)
        if not block.dropped:
            blocks.append(copy.deepcopy(block.module))
        return result

    def record_end(parts, memory):
        finish(parts, memory)
        ends.append(copy.deepcopy(parts.model))

    monkeypatch.setattr(method, "compress_block", record)
    if finish:
        monkeypatch.setattr(method, "finish", record_end)
    compress()
    model = ends[0] if ends else load(parent, torch.float32, CPU)
    path, _ = empty_model.decoder_blocks(model)
    model.set_submodule(path, torch.nn.ModuleList(blocks))
    # OPT runs all blocks of its list, the others so many as the config says.
    model.config.num_hidden_layers = len(blocks)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("before", ["", "wanda@0.5", "rtn@4bit"])
def test_a_reloaded_model_is_the_one_in_memory(
    family, step, before, made, place, monkeypatch, tmp_path
):
    parent = made(family, before)
    method = methods.find(step.split("@")[0]).module
    target = tmp_path / "checkpoint"
    model = held_in_memory(
        parent, method, monkeypatch, lambda: run(parent, target, step, place / "windows.npy")
    )
    with torch.no_grad():
        expected = model(IDS, use_cache=False).logits
    assert torch.equal(logits(target), expected)
    assert not torch.equal(expected, logits(parent))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chain", [*STEPS.values(), *CHAINS])
def test_it_walks_again_and_is_weighed(family, chain, made):
    """A pass of all windows over the blocks, to the last: as the whole model computes it."""
    folder = made(family, chain)
    counts, files = size(folder), sorted(set(index(folder).values()))
    stored = [t["shape"] for f in files for t in header(folder / f).values()]
    assert counts["parameters"] == sum(math.prod(shape) for shape in stored)
    again = made(family, f"{chain}+magnitude@0.9")
    assert Description.read(again).achieved.zeros == pytest.approx(0.9, abs=0.01)
    assert logits(again).isfinite().all()
    assert {n: t.shape for n, t in weights(again).items()} == {
        n: t.shape for n, t in weights(folder).items()
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chain", ["cut_shapes@0.3,empty=true", "factor_shapes@0.3"])
def test_generating_token_by_token_is_one_pass(family, chain, made):
    """The cache counts tokens in each block, those without attention too."""
    model, past, found = load(made(family, chain), torch.float32, CPU), None, []
    with torch.no_grad():
        for token in IDS.split(1, dim=1):
            output = model(token, past_key_values=past, use_cache=True)
            past = output.past_key_values
            found.append(output.logits)
        torch.testing.assert_close(torch.cat(found, 1), model(IDS).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rotated_model_computes_the_same(family, made):
    """Shortcuts, norms of another class, a head of its own: everything that SliceGPT changes."""
    step = "cut_shapes@0.3,heads=false,neurons=false,depth=false,narrow=0"
    rotated = made(family, step)
    torch.testing.assert_close(logits(rotated), logits(made(family)), rtol=2e-4, atol=2e-5)
    assert Description.read(rotated).achieved.parameters < 0


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_expanded_heads_compute_the_same_from_an_ordinary_folder(family, made):
    expanded = made(family, f"cut_shapes@0.3,{unique(f'{ONLY},expand=true')}")
    shapes = Description.read(expanded).shapes
    assert shapes.irregular is None
    assert {block.kv_heads for block in shapes.blocks} == {4}
    torch.testing.assert_close(logits(expanded), logits(made(family)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "step",
    [
        f"{ONLY},depth=true",
        f"{ONLY},neurons=true,even=true",
        f"{ONLY},heads=true,even=true",
        f"{ONLY},neurons=true,heads=true,depth=true,even=true",
    ],
)
def test_regular_shapes_are_an_ordinary_folder(family, step, made):
    folder = made(family, f"cut_shapes@0.5,{unique(step)}")
    description = Description.read(folder)
    if family == "opt" and "heads=true" in unique(step):
        assert "head width" in description.shapes.irregular
        return
    assert description.shapes.irregular is None
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()(IDS).logits
    assert torch.equal(logits(folder), theirs)


@pytest.mark.parametrize("chain", STEPS.values(), ids=STEPS)
def test_every_engine_runs_it(chain, made):
    """Streamed, in memory, and as speed is timed: the losses are those of the model's logits."""
    folder, windows = made("llama", chain), IDS.numpy()
    expected = torch.nn.functional.cross_entropy(
        logits(folder)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten(), reduction="none"
    )
    for stream, kernels in ((False, False), (True, False), (False, True)):
        compute = Compute(device="cpu", stream=stream)
        with open_engine(folder, compute, kernels=kernels) as engine:
            found = torch.from_numpy(engine.nll(windows)).flatten()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


REGULAR = [name for name, m in methods.registry().items() if m.facts.needs_regular_shapes]


@pytest.mark.parametrize("name", REGULAR)
def test_a_library_that_needs_regular_shapes_says_so(name, made, place, tmp_path):
    step = "@".join(filter(None, (name, spellings(methods.find(name))[0])))
    target = run(made("llama", STEPS["factor"]), tmp_path / name, step, place / "windows.npy")
    reason = Description.read(target).reason
    assert "no config can say that self_attn.q_proj of block 0 is a product of two" in reason


def test_a_method_that_leaves_nothing_does_not_apply(made, place, tmp_path, monkeypatch):
    monkeypatch.setattr(cut_shapes, "compress_block", lambda block, *_: block.drop())
    target = run(made("llama"), tmp_path / "a", STEPS["cut"], place / "windows.npy")
    assert Description.read(target).reason == "cut_shapes leaves no block at 0.3"


def test_a_checkpoint_of_irregular_shapes_is_no_base_model(made, tmp_path):
    with pytest.raises(MeltpointError, match=r"models\.mine: .* no config can say that self_attn"):
        base_models.link(made("llama", STEPS["factor"]), tmp_path / "linked", "models.mine")


def test_a_description_of_an_older_version_is_refused(made, place, tmp_path):
    folder = shutil.copytree(made("llama"), tmp_path / "old")
    (folder / "meltpoint.json").write_text(
        '{"status": "ok", "chain": "dense", "sparsity": {"requested": null, "achieved": 0.0}}'
    )
    for read in (lambda: load(folder, torch.float32, CPU), lambda: Description.read(folder)):
        with pytest.raises(MeltpointError, match=r"old/meltpoint\.json .*delete results/ and"):
            read()


def test_a_description_is_read_without_torch(made):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from pathlib import Path\nfrom meltpoint.checkpoints.description import Description\n"
        f"d = Description.read(Path({str(made('opt', STEPS['cut']))!r}))\n"
        "assert d.shapes.irregular and d.shapes.blocks[0].shortcuts and d.linears"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("level", "family"),
    [*((level, "llama") for level in SHAPE_LEVELS), ("0.3", "qwen2"), ("0.3", "opt")],
)
@pytest.mark.parametrize("name", ["cut_shapes", "factor_shapes"])
def test_they_keep_the_contract_of_their_kind(name, level, family, made):
    """The table of contracts, before and after a step that makes zeros."""
    method = methods.find(name)
    contract = CONTRACTS[method.kind]
    for before in ("", "magnitude@0.4"):
        chain = "+".join(filter(None, (before, f"{name}@{level}")))
        case = Case(method, level, made(family, before), made(family, chain))
        contract.may_change(case)
        contract.must_reach(case)
        contract.must_keep(case)
