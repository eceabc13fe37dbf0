"""Results that are asked for by their paths: what cannot be made under them is said in a sentence."""

import copy
from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.resolved import Study
from meltpoint.workflow.requested import check_requested
from tests.support.small_study import SMALL

SWEEP = {"models": ["m"], "methods": ["wanda"], "levels": [0.5], "evaluations": ["e"]}


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(config.load({**copy.deepcopy(SMALL), "sweeps": {"s": SWEEP}}, "s.yaml"), Path())


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        ("wanda@0.50", "m/wanda@0.50: in paths the chain is spelled wanda@0.5"),
        ("wanda@0.5+rtn@4bit,group_size=128", "in paths the chain is spelled wanda@0.5+rtn@4bit"),
        ("wanda@0.5,calibration=no", "m/wanda@0.5,calibration=no: undefined calibration 'no'"),
        ("wanda@0.5,sample=1", "m/wanda@0.5,sample=1: unknown setting 'sample' of wanda: did you"),
        ("wandaa@0.5", "m/wandaa@0.5: unknown method 'wandaa': did you mean 'wanda'"),
        ("wanda@1.5", "1.5 is no sparsity: it must lie between 0 and 1"),
    ],
)
def test_a_chain_that_cannot_be_made_is_refused(study, chain, sentence):
    with pytest.raises(MeltpointError) as caught:
        check_requested(study, "m", chain)
    assert sentence in str(caught.value)


def test_a_chain_that_no_group_has_is_taken(study):
    for chain in ("dense", "wanda@0.5", "wanda@0.55", "wanda@0.5+rtn@4bit"):
        check_requested(study, "m", chain)
