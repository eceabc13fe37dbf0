"""Fine-tuning after a step of every kind owes what its contract says."""

import pytest

from meltpoint.checkpoints.description import Description
from tests.support.contract_steps import FAMILIES, MAGNITUDE, METHODS, PACKED, ROUNDING, first
from tests.support.contracts import CONTRACTS, Case
from tests.support.steps import SHAPE_KINDS, run, spell, spellings


def typical_step(method):
    """A step of the method at a level that the small models can do."""
    levels = spellings(METHODS[method])
    return spell(method, next(x for x in ("2of4", "0.3", "4bit", levels[0]) if x in levels))


FINETUNING = [name for name, method in METHODS.items() if method.kind == "finetuning"]
# One of each kind, and of quantization one in value alone and one that a library packs.
EARLIER = [MAGNITUDE, *map(first, SHAPE_KINDS), ROUNDING, PACKED, *FINETUNING]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("earlier", EARLIER)
@pytest.mark.parametrize("method", FINETUNING)
def test_fine_tuning_after_a_step_of_each_kind(method, earlier, family, base_of, windows, tmp_path):
    base = base_of(earlier, family)
    parent = run(base, tmp_path / "parent", typical_step(earlier), windows)
    assert Description.read(parent).status == "ok"
    child = run(parent, tmp_path / "child", method, windows)
    step = Case(METHODS[method], "", parent, child)
    contract = CONTRACTS[step.method.kind]
    for check in (contract.may_change, contract.must_reach, contract.must_keep):
        check(step)
    left_grids = any(linear.stored for linear in step.origin.linears.values())
    assert any("dense numbers now" in text for text in step.description.warnings) == left_grids
