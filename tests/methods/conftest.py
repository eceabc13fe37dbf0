"""Base models and windows that contracts are tried on."""

import pytest

from tests.support.contract_steps import FAMILIES, METHODS
from tests.support.steps import SHAPE_KINDS
from tests.support.tiny_models import save_model, save_windows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contracts")


@pytest.fixture(scope="module")
def windows(folder):
    return save_windows(folder, 6, 48)


@pytest.fixture(scope="module")
def base_of(folder):
    """The base model of a family that a method is tried on, made once.

    Libraries get one of a width that groups and kernels fill, methods that change shapes a deep one.
    """
    sizes = {"hidden_size": 256, "intermediate_size": 512}
    wide = {
        "llama": {**sizes, "head_dim": 64},
        "mistral": {**sizes, "head_dim": 64},
        "qwen2": sizes,
        "opt": {"hidden_size": 256, "ffn_dim": 512, "word_embed_proj_dim": 256},
    }
    deep = {family: {"num_hidden_layers": 8} for family in FAMILIES}

    def base(method, family):
        changes = wide[family] if not METHODS[method].is_blockwise else {}
        if METHODS[method].kind in SHAPE_KINDS:
            changes = deep[family]
        place = folder / "-".join([family, *map(str, changes.values())])
        return place if place.exists() else save_model(place, family, **changes)

    return base
