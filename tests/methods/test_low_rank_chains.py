"""Low-rank methods before and after methods that cut, and on what a library has packed."""

import numpy as np
import pytest

from meltpoint import methods
from meltpoint.checkpoints.description import Description
from tests.support.low_rank import logits, reason_of, tiny
from tests.support.steps import run
from tests.support.tiny_models import random_tokens

KINDS = {name: method.kind for name, method in methods.registry().items()}
LOW_RANK = [name for name, kind in KINDS.items() if kind == "low-rank"]
STRUCTURED = [name for name, kind in KINDS.items() if kind == "structured"]
REGULAR = [name for name, m in methods.registry().items() if m.facts.needs_regular_shapes]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The checkpoint of a chain on a tiny Llama, each made once."""
    place, base = tmp_path_factory.mktemp("chains"), tiny(tmp_path_factory, "llama", depth=4)
    np.save(place / "windows.npy", random_tokens(6, 48).numpy())

    def make(chain):
        if not chain:
            return base
        prefix, _, step = chain.rpartition("+")
        target = place / chain
        return target if target.exists() else run(make(prefix), target, step, place / "windows.npy")

    return make


def gone(folder):
    assert reason_of(folder) is None
    return Description.read(folder).achieved.parameters


@pytest.mark.parametrize("low_rank", LOW_RANK)
@pytest.mark.parametrize("other", STRUCTURED)
def test_factors_of_cut_linears(other, low_rank, made):
    cut, both = made(f"{other}@0.3"), made(f"{other}@0.3+{low_rank}@0.3")
    assert gone(both) > gone(cut) + 0.05
    assert logits(both).isfinite().all()


@pytest.mark.parametrize("low_rank", LOW_RANK)
@pytest.mark.parametrize("other", STRUCTURED)
def test_cut_factors(other, low_rank, made):
    folder = made(f"{low_rank}@0.3+{other}@0.3")
    assert reason_of(folder) is None
    assert logits(folder).isfinite().all()
    assert Description.read(folder).zeros_lost == 0


@pytest.mark.parametrize("second", LOW_RANK)
@pytest.mark.parametrize("first", LOW_RANK)
def test_a_level_of_parameters_on_top_of_factors(first, second, made):
    folder = made(f"{first}@0.2+{second}@0.5,of=parameters")
    assert gone(folder) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("low_rank", LOW_RANK)
@pytest.mark.parametrize("library", REGULAR)
def test_a_library_takes_no_factors(library, low_rank, made):
    method = methods.find(library)
    level = "@4bit" if method.bits and 4 in method.bits else ""
    if method.levels and not level:
        pytest.skip(f"{library} has no 4 bit")
    folder = made(f"{low_rank}@0.3+{library}{level}")
    assert "is a product of two factors" in reason_of(folder)


@pytest.mark.parametrize("low_rank", LOW_RANK)
def test_packed_weights_are_decoded_first(low_rank, made):
    packed = next(name for name in REGULAR if not methods.find(name).levels)
    folder = made(f"{packed}+{low_rank}@0.3")
    assert gone(folder) > 0.25
    # Linears that stay whole stay on their grids.
    found = Description.read(folder).linears
    factors = [linear for name, linear in found.items() if name.endswith((".0", ".1"))]
    assert {linear.stored for linear in factors} == {None}
