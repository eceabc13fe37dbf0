"""Steps that change shapes, proved by two methods that exist for these tests alone."""

import copy
import math
import shutil
import subprocess
import sys
from types import ModuleType

import numpy as np
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
from meltpoint.model import empty_model
from meltpoint.model.load import load
from tests.methods.test_contracts import CONTRACTS
from tests.support import cut_shapes, factor_shapes
from tests.support.contracts import Case
from tests.support.plugins import register_method
from tests.support.steps import SHAPE_LEVELS, run, spellings, weights
from tests.support.tiny_models import random_tokens, save_model

CPU = torch.device("cpu")
FAMILIES = ("llama", "qwen2", "opt")
IDS = random_tokens(2, 20, seed=3)
STEPS = {"cut": "cut_shapes@0.3", "factor": "factor_shapes@0.3"}
ONLY = "heads=false,neurons=false,depth=false,rotate=false"


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The two methods, in the registry while these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cut_shapes, factor_shapes):
            register_method(patch, module)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    for family in FAMILIES:
        kinds = {"layer_types": None} if family == "qwen2" else {}
        save_model(folder / family, family, num_hidden_layers=4, **kinds)
    np.save(folder / "windows.npy", random_tokens(6, 32).numpy())
    return folder


@pytest.fixture(scope="module")
def made(place):
    """The checkpoint of a family's chain, each made once."""

    def make(family, chain=""):
        if not chain:
            return place / family
        prefix, _, step = chain.rpartition("+")
        target = place / f"{family}-{chain}"
        if not target.exists():
            run(make(family, prefix), target, step, place / "windows.npy")
        assert Description.read(target).status == "ok", Description.read(target).reason
        return target

    return make


def logits(folder):
    with torch.no_grad():
        return load(folder, torch.float32, CPU)(IDS).logits


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


CHAINS = [
    chain
    for step in STEPS.values()
    for other in ("wanda@0.5", "sparsegpt@0.5", "rtn@4bit")
    for chain in (f"{step}+{other}", f"{other}+{step}")
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chain", CHAINS)
def test_achieved_is_a_count_by_hand(family, chain, made):
    folder, base = made(family, chain), made(family)
    description, tensors = Description.read(folder), weights(folder)
    inside = {n: t for n, t in tensors.items() if "layers." in n}
    dense = sum(t.numel() for n, t in weights(base).items() if "layers." in n)
    achieved = description.achieved
    assert achieved.parameters == pytest.approx(1 - sum(t.numel() for t in inside.values()) / dense)
    linears = {n: inside[f"{n}.weight"] for n in description.linears}
    matrices = {n for n, t in inside.items() if t.dim() == 2 and "shortcut" not in n}
    assert {f"{name}.weight" for name in linears} == matrices
    entries = sum(t.numel() for t in linears.values())
    zeros = sum(int((t == 0).sum()) for t in linears.values()) / entries
    assert achieved.zeros + description.rounded == pytest.approx(zeros)
    if chain.endswith("rtn@4bit"):
        scales = sum(len(t) * math.ceil(t.shape[1] / 128) * 20 for t in linears.values())
        assert achieved.bits == pytest.approx(4 + scales / entries)
        assert {linear.stored.bits for linear in description.linears.values()} == {4}
    elif chain.endswith("@0.5"):
        # Each of sparsegpt's matrices may miss it by one weight, wanda's by one a row.
        assert zeros == pytest.approx(0.5, abs=0.02)
    assert description.requested.keys() >= {"level"}
    assert achieved.parameters > 0.2


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


def unique(step):
    """A step's settings, the last of each name."""
    return ",".join(f"{k}={v}" for k, v in dict(p.split("=") for p in step.split(",")).items())


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


def test_a_total_holds_on_each_axis(made, place, tmp_path):
    """The level of an earlier step on another axis neither counts nor stands in the way."""
    chain = f"wanda@0.5+cut_shapes@0.2,{unique(f'{ONLY},neurons=true,even=true')}+wanda@0.6"
    description = Description.read(made("llama", chain))
    assert description.requested == {"zeros": 0.6, "level": 0.2}
    assert description.achieved.zeros == pytest.approx(0.6, abs=0.02)
    assert 0.05 < description.achieved.parameters < 0.2
    refused = run(made("llama", chain), tmp_path / "a", "wanda@0.3", place / "windows.npy")
    assert "sparse already, more than the 0.3" in Description.read(refused).reason
    twice = run(
        made("llama", STEPS["factor"]), tmp_path / "b", "factor_shapes@0.1,of=parameters", None
    )
    assert "of the dense decoder's parameters are gone already" in Description.read(twice).reason


def test_zeros_stay_where_the_weight_stays(made):
    """A cut loses no zeros; a rotation has other weights, and fills none of the earlier ones."""
    cut = f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true,heads=true')}"
    parent, child = made("llama", "magnitude@0.5"), made("llama", f"magnitude@0.5+{cut}")
    description = Description.read(child)
    assert description.zeros_lost == 0
    assert description.achieved.zeros == pytest.approx(0.5, abs=0.05)
    before, after = weights(parent), weights(child)
    name = "model.layers.0.mlp.gate_proj.weight"
    rows = [
        next(i for i, row in enumerate(before[name]) if torch.equal(row, x)) for x in after[name]
    ]
    assert rows == sorted(rows)
    assert len(rows) < len(before[name])
    assert Description.read(made("llama", "magnitude@0.5+cut_shapes@0.3")).zeros_lost == 0


@pytest.mark.parametrize("columns", [False, True])
def test_a_grid_holds_where_whole_groups_are_left(columns, made):
    """Rows take their grids with them; a row that loses columns has other groups."""
    cut = f"cut_shapes@0.3,{unique(f'{ONLY},neurons=true')}"
    description = Description.read(made("llama", f"rtn@4bit+{cut}"))
    name = f"model.layers.0.mlp.{'down' if columns else 'gate'}_proj"
    stored = description.linears[name].stored
    # 128 columns are one group here: a whole row's.
    assert stored is not None
    grouped = Description.read(made("llama", f"rtn@4bit,group_size=32+{cut}")).linears[name].stored
    assert (grouped is None) == columns


def test_a_method_that_leaves_nothing_does_not_apply(made, place, tmp_path, monkeypatch):
    monkeypatch.setattr(cut_shapes, "compress_block", lambda block, *_: block.drop())
    target = run(made("llama"), tmp_path / "a", STEPS["cut"], place / "windows.npy")
    assert Description.read(target).reason == "cut_shapes leaves no block at 0.3"


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


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("level", SHAPE_LEVELS)
@pytest.mark.parametrize("name", ["cut_shapes", "factor_shapes"])
def test_they_keep_the_contract_of_their_kind(name, level, family, made):
    """The table of tests/methods/test_contracts.py, before and after a step that makes zeros."""
    method = methods.find(name)
    contract = CONTRACTS[method.kind]
    for before in ("", "magnitude@0.4"):
        chain = "+".join(filter(None, (before, f"{name}@{level}")))
        case = Case(method, level, made(family, before), made(family, chain))
        contract.may_change(case)
        contract.must_reach(case)
        contract.must_keep(case)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("before", ["", "factor_shapes@0.1", "cut_shapes@0.1"])
def test_a_level_of_the_dense_decoders_parameters_is_a_total(before, family, made):
    chain = "+".join(filter(None, (before, "factor_shapes@0.5,of=parameters")))
    description = Description.read(made(family, chain))
    assert description.requested == {"parameters": 0.5}
    assert description.achieved.parameters == pytest.approx(0.5, abs=0.02)
