"""Chains of methods that remove blocks: on top of each other, and with methods of other kinds."""

import pytest

from meltpoint.checkpoints.description import Description
from tests.support import cut_shapes
from tests.support.block_chains import deep_model, logits_of, reason, run_chain
from tests.support.plugins import register_method
from tests.support.steps import zeros_of

REMOVALS = ["sleb@0.3", "shortgpt@0.3", "shortgpt@0.3,angular=true"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        register_method(patch, cut_shapes)
        yield deep_model(tmp_path_factory.mktemp("blocks"))


def blocks_of(folder):
    description = Description.read(folder)
    assert description.status == "ok", description.reason
    return len(description.shapes.blocks)


@pytest.mark.parametrize("other", ["wanda@0.5", "sparsegpt@0.5", "rtn@4bit"])
@pytest.mark.parametrize("removal", REMOVALS)
def test_zeros_and_grids_hold_before_and_after(removal, other, base):
    for chain in (f"{removal}+{other}", f"{other}+{removal}"):
        folder = run_chain(base, chain)
        description = Description.read(folder)
        assert blocks_of(folder) == 6
        assert description.shapes.irregular is None
        assert description.zeros_lost == 0
        assert logits_of(folder).isfinite().all()
        if other == "rtn@4bit":
            assert {linear.stored.bits for linear in description.linears.values()} == {4}
        else:
            assert zeros_of(folder) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("second", ["sleb@0.4", "shortgpt@0.4"])
@pytest.mark.parametrize("first", ["sleb@0.2", "shortgpt@0.25"])
def test_a_level_is_that_of_the_model_at_hand(first, second, base):
    """Two of eight blocks go, then two of six: floor(2.9) of sleb's rounding, int(2.4)."""
    folder = run_chain(base, f"{first}+{second}")
    assert blocks_of(folder) == 4
    description = Description.read(folder)
    assert description.requested == {"level": 0.4}
    assert description.achieved.parameters == pytest.approx(0.5)


@pytest.mark.parametrize("removal", REMOVALS)
def test_blocks_of_unequal_shapes_are_left_out_too(removal, base):
    cut = "cut_shapes@0.3,rotate=false,depth=false"
    for chain in (f"{cut}+{removal}", f"{removal}+{cut}"):
        folder = run_chain(base, chain)
        assert blocks_of(folder) == 6
        assert Description.read(folder).shapes.irregular
        assert logits_of(folder).isfinite().all()


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_block_of_a_rotated_model_cannot_be_left_out(removal, base):
    rotated = run_chain(base, "cut_shapes@0.3,depth=false")
    assert "block 0 sends the residual stream through matrices" in reason(rotated, removal)
    folder = run_chain(base, f"{removal}+cut_shapes@0.3,depth=false")
    assert blocks_of(folder) == 6
