"""A step that starts from a quantised model is refused with the study where none comes before it."""

from pathlib import Path

import pytest

from meltpoint.chain import parse_chain
from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.grids import check_grids
from meltpoint.study.resolved import Study
from tests.support.small_study import SMALL

BESIDE = "lora,merge=false"


@pytest.mark.parametrize(
    ("before", "base"),
    [
        ("", "the base model"),
        ("wanda@0.5+", "wanda@0.5"),
        ("rtn@4bit+sparsegpt@0.5+", r"rtn@4bit\+sparsegpt@0.5"),
    ],
)
def test_dense_numbers_are_refused(before, base):
    with pytest.raises(MeltpointError, match=f"^k: {BESIDE} starts from .*, and {base} is dense"):
        check_grids("k", parse_chain(before + BESIDE))


@pytest.mark.parametrize(
    "chain",
    [
        f"rtn@4bit+{BESIDE}",
        f"wanda@0.5+gptq@4bit+{BESIDE}",
        f"rtn@4bit+wanda@0.5+{BESIDE}",
        f"rtn@4bit+lora,targets=q_proj+{BESIDE}",
        "lora",
        "dense",
    ],
)
def test_what_may_be_on_a_grid_is_taken(chain):
    check_grids("k", parse_chain(chain))


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ({"sweeps": {"g": {"methods": [BESIDE]}}}, r"sweeps\.g\.methods"),
        ({"chains": {"g": {"chains": [BESIDE]}}}, r"chains\.g\.chains"),
        ({"chains": {"g": {"stages": [{"methods": [BESIDE]}]}}}, r"chains\.g\.stages"),
    ],
)
def test_a_study_names_the_key(part, key):
    ((_, groups),) = part.items()
    groups["g"] |= {"models": ["m"], "evaluations": ["e"]}
    raw = {**SMALL, **part}
    with pytest.raises(MeltpointError, match=f"{key}: .* and the base model is dense numbers"):
        Study(config.load(raw, "s.yaml"), Path())
