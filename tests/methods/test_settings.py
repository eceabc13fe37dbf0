"""The settings that several methods share, and how a step spells them."""

from typing import ClassVar

import pytest
from pydantic import Field

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.methods.settings import OfficialSettings
from tests.support.plugins import method_module, register_method

SOURCE = '''
"""Scale: weights are scaled."""

from meltpoint.chain import Sparsity
from tests.methods.test_settings import Settings

kind = "unstructured"
levels = (Sparsity,)
env = "torch"


def compress_block(block, statistics, level, settings):
    """Scales the weights."""
'''


class Settings(OfficialSettings):
    """Two quirks."""

    official_defaults: ClassVar = {"epsilon": 1e-5, "centre": True}
    epsilon: float = Field(1e-6, description="Added to a variance.")
    centre: bool = Field(False, description="Whether the mean is subtracted.")


@pytest.fixture
def scale(monkeypatch):
    return register_method(monkeypatch, method_module("scale", SOURCE))


def settings(spelling):
    step = parse_step(spelling)
    return methods.find(step.method).settings(step)


@pytest.mark.usefixtures("scale")
@pytest.mark.parametrize(
    ("spelling", "epsilon", "centre"),
    [
        ("scale@0.5", 1e-6, False),
        ("scale@0.5,official=false", 1e-6, False),
        ("scale@0.5,official=true", 1e-5, True),
        ("scale@0.5,official=true,centre=false", 1e-5, False),
        ("scale@0.5,centre=true", 1e-6, True),
    ],
)
def test_official_changes_defaults_and_a_finer_setting_wins(spelling, epsilon, centre):
    found = settings(spelling)
    assert (found.epsilon, found.centre) == (epsilon, centre)


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("scale@0.5,official=true,centre=true", "scale@0.5,official=true"),
        ("scale@0.5,official=true,centre=false", "scale@0.5,centre=false,official=true"),
        ("scale@0.5,official=false,centre=false", "scale@0.5"),
        ("scale@0.5,epsilon=0.00001", "scale@0.5,epsilon=1e-05"),
    ],
)
def test_what_equals_the_default_under_that_official_is_not_spelled(scale, spelling, canonical):
    assert str(scale.canonical(parse_step(spelling))) == canonical
