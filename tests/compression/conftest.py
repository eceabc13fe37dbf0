"""Chains of the two methods that change shapes, on deep tiny models."""

import numpy as np
import pytest

from meltpoint.checkpoints.description import Description
from tests.support.shape_chains import FAMILIES, registered_shape_methods
from tests.support.steps import run
from tests.support.tiny_models import random_tokens, save_model


@pytest.fixture(scope="module")
def registered():
    """The two methods, in the registry while these tests run."""
    with registered_shape_methods():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    for family in FAMILIES:
        save_model(folder / family, family, num_hidden_layers=4)
    np.save(folder / "windows.npy", random_tokens(6, 32).numpy())
    return folder


@pytest.fixture(scope="module")
def made(place, registered):
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
