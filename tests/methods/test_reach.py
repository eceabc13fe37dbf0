"""The nearest level that a method's granularity allows."""

import pytest

from meltpoint.errors import NotApplicable
from meltpoint.methods._reach import nearest_level


@pytest.mark.parametrize(("wanted", "index"), [(0.3, 2), (0.1, 1), (0.01, 0), (0.55, 4)])
def test_the_nearest(wanted, index):
    assert nearest_level("sleb", [0.0, 0.125, 0.25, 0.375, 0.5], wanted) == index


@pytest.mark.parametrize(("wanted", "nearest"), [(0.8, "0.500"), (0.02, "0.125")])
def test_a_level_beyond_all(wanted, nearest):
    with pytest.raises(NotApplicable, match=f"the nearest that it can is {nearest}"):
        nearest_level("sleb", [0.125, 0.25, 0.375, 0.5], wanted)
