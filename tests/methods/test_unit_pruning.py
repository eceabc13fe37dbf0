"""What the methods that cut heads and neurons have in common."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from meltpoint.checkpoints.description import Description
from meltpoint.errors import MeltpointError
from meltpoint.methods._unit_selection import Size, keep_highest, ratios_of_parameters
from meltpoint.methods._units import Units, cut_units, units_of
from meltpoint.model import surgery
from tests.support.steps import run, weights
from tests.support.tiny_models import save_model
from tests.support.unit_chains import IDS, Chains

METHODS = ("flap", "wanda_sp", "magnitude_sp")
FAMILIES = ("llama", "qwen2", "opt")


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    return Chains(tmp_path_factory.mktemp("units"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("expand", [False, True])
def test_costs_are_the_parameters_that_a_cut_removes(family, expand, chains):
    def parameters(block):
        return sum(p.numel() for p in block.parameters())

    block = chains.blocks(family)[0]
    units, before = units_of(block, expand), parameters(block)
    if expand:
        surgery.expand_kv(block)
        assert parameters(block) - before == units.added
        before += units.added
    heads, neurons = torch.ones(units.heads) > 0, torch.ones(units.neurons) > 0
    heads[1] = neurons[3] = neurons[5] = False
    cut_units(block, heads, neurons)
    assert before - parameters(block) == units.head_cost + 2 * units.neuron_cost


@pytest.mark.parametrize("wanted", [0.1, 0.25, 0.4, 0.5, 0.6, 0.75])
def test_neurons_make_up_for_what_heads_miss(wanted):
    """Of 4 heads of 90 parameters and 11 neurons of 7, in each of two blocks."""
    blocks = [Units(4, 11, head_cost=90, neuron_cost=7, added=0, biases=0, group=1)] * 2
    size = Size(dense=900, uncut=880)
    ratios = ratios_of_parameters("some", blocks, size, wanted)
    heads, neurons = int(ratios["attention"] * 4), int(ratios["mlp"] * 11)
    gone = size.gone(2 * (90 * heads + 7 * neurons))
    assert gone == pytest.approx(wanted, abs=7 / 900 if 0 < neurons < 10 else 0.03)


def test_units_that_tie_with_the_lowest_kept_are_kept():
    scores = torch.tensor([3.0, 1.0, 2.0, 2.0])
    assert keep_highest(scores, 1).tolist() == [True, False, True, True]
    assert keep_highest(scores, 2).tolist() == [True, False, True, True]
    assert not keep_highest(scores, 4).any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("level", ["0.2", "0.5", "0.7"])
@pytest.mark.parametrize("method", METHODS)
def test_of_parameters_is_of_the_dense_decoder(method, level, family, chains):
    """A neuron of all blocks is less than a hundredth of these decoders."""
    wanted = pytest.approx(float(level), abs=0.02)
    for more in ("", ",expand_kv=true"):
        assert chains.achieved(family, f"{method}@{level},of=parameters{more}") == wanted
    first = f"wanda@0.3+{method}@0.1,of=parameters"
    assert chains.achieved(family, f"{first}+{method}@{level},of=parameters") == wanted


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("method", METHODS)
def test_expanded_heads_are_cut_one_by_one(method, family, chains):
    shapes = Description.read(chains.made(family, f"{method}@0.3,expand_kv=true")).shapes
    assert all(block.heads == block.kv_heads for block in shapes.blocks)
    assert {block.heads for block in shapes.blocks} <= {2, 3, 4}
    assert method == "flap" or {block.heads for block in shapes.blocks} == {3}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("other", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit"])
@pytest.mark.parametrize("method", METHODS)
def test_chains_before_and_after(method, other, family, chains):
    """Zeros and grids of weights that stay are kept."""
    step = f"{method}@0.4"
    after = Description.read(chains.made(family, f"{step}+{other}"))
    before = Description.read(chains.made(family, f"{other}+{step}"))
    alone = Description.read(chains.made(family, step))
    assert after.shapes == alone.shapes
    assert before.zeros_lost == after.zeros_lost == 0
    if "4bit" in other:
        assert all(linear.stored for linear in after.linears.values())
        # Where columns are cut, groups of columns have other members.
        rows = [x for n, x in before.linears.items() if n.endswith(("q_proj", "up_proj", "fc1"))]
        assert all(linear.stored for linear in rows)
    else:
        for description in (before, after):
            assert description.achieved.zeros == pytest.approx(0.5, abs=0.1)
    for chain in (f"{step}+{other}", f"{other}+{step}"):
        assert chains.logits(family, chain).isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_on_top_of_each_other(method, chains):
    for other in METHODS:
        once, twice = f"{other}@0.3", f"{other}@0.3+{method}@0.3"
        assert chains.achieved("llama", twice) > chains.achieved("llama", once)
        assert chains.logits("llama", twice).isfinite().all()


@pytest.mark.parametrize("method", ["wanda_sp", "magnitude_sp"])
def test_a_uniform_cut_is_an_ordinary_folder(method, chains):
    folder = chains.made("llama", f"{method}@0.5")
    assert Description.read(folder).shapes.irregular is None
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
        assert torch.equal(theirs(IDS).logits, chains.logits("llama", f"{method}@0.5"))


@pytest.mark.parametrize("method", METHODS)
def test_a_level_that_removes_nothing_does_not_apply(method, chains):
    assert chains.reason("llama", f"{method}@0.0001") == (
        f"{method}@0.0001 removes none of 520 heads and neurons"
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_level_that_the_dense_decoder_cannot_lose_does_not_apply(method, chains):
    reason = chains.reason("llama", f"{method}@0.999,of=parameters")
    assert f"{method} cannot remove 0.999 of the dense decoder's parameters: the nearest" in reason


@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_unknown_parts_does_not_apply(method, chains, tmp_path):
    base = save_model(tmp_path / "bloom", "bloom")
    folder = run(base, tmp_path / "cut", f"{method}@0.5", chains.folder / "windows.npy")
    assert "the parts of a BloomBlock are not known" in Description.read(folder).reason


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [("of=heads", "setting of: "), ("expand=true", "did you mean 'expand_kv'")],
)
@pytest.mark.parametrize("method", METHODS)
def test_unknown_settings_are_refused(method, setting, sentence, chains):
    with pytest.raises(MeltpointError, match=sentence):
        chains.made("llama", f"{method}@0.5,{setting}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_part_that_is_gone_gives_its_constant(family, chains):
    """In a block by itself, behind shortcut matrices, and read again."""
    width = 64
    constant, hidden = torch.arange(width) / width, torch.randn(2, 5, width)
    for matrices in (False, True):
        block = chains.blocks(family)[1]
        units = units_of(block)
        nothing = [torch.zeros(n) > 0 for n in (units.heads, units.neurons)]
        cut_units(block, *nothing, {"attention": constant, "mlp": 2 * constant})
        if matrices:
            surgery.set_shortcuts(block, attention=torch.eye(width), mlp=torch.eye(width))
        found = block(hidden, attention_mask=None, position_embeddings=None, position_ids=None)
        found = found[0] if isinstance(found, tuple) else found
        torch.testing.assert_close(found, hidden + 3 * constant)


def test_zeros_of_a_step_before_stay(chains):
    folder = chains.made("llama", "magnitude@0.5+flap@0.3")
    for name, weight in weights(folder).items():
        if name.endswith("proj.weight"):
            assert (weight == 0).float().mean() > 0.4
