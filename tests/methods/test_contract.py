"""The registry refuses a file that does not keep the contract, and a test can add a method."""

import inspect
from pathlib import Path

import pytest

from meltpoint import methods
from meltpoint.chain import Step
from meltpoint.errors import MeltpointError
from tests.support.plugins import method_module, register_method

GOOD = '''
"""Halve: weights are halved."""

from pydantic import Field

from meltpoint.chain import Bits, Scheme, Sparsity
from meltpoint.methods.settings import CalibratedSettings

kind = "unstructured"
levels = (Sparsity,)
env = "torch"


class Settings(CalibratedSettings):
    """How often."""

    times: int = Field(1, description="Number of halvings. Default: 1.")
    quiet: bool = Field(False, description="Nothing that matters. Default: false.")


def compress_block(block, statistics, level, settings):
    """Halves the weights."""
'''
ALSO = GOOD + "\n{}\n"
WRONG = {
    "no kind": (GOOD.replace('kind = "unstructured"', ""), "a method declares 'kind'"),
    "unknown kind": (GOOD.replace('"unstructured"', '"pruning"'), "kind: must be 'unstr"),
    "misspelled fact": (
        ALSO.format("update_weights = True"),
        "declares no 'update_weights': did you mean 'updates_weights'?",
    ),
    "misspelled function": (
        ALSO.format("def need_dense_outputs(settings): ..."),
        "need_dense_outputs: did you mean needs_dense_outputs?",
    ),
    "type of a fact": (
        ALSO.format('updates_weights = "yes"'),
        "updates_weights: must be true or false",
    ),
    "no settings": (GOOD.replace("class Settings", "class Options"), "declares 'Settings'"),
    "no function": (GOOD.replace("compress_block", "walk"), "compress_block or compress"),
    "two functions": (
        ALSO.format("def compress(source, target, level, settings, context): ..."),
        "has one function, compress_block or compress",
    ),
    "parameters": (
        GOOD.replace("statistics, level", "level"),
        r"compress_block takes \(block, statistics, level, settings\), not \(block, level, settings\)",
    ),
    "bits": (GOOD.replace("(Sparsity,)", "(Bits,)"), "takes Bits declares 'bits'"),
    "schemes": (GOOD.replace("(Sparsity,)", "(Scheme,)"), "takes Scheme declares 'schemes'"),
    "levels": (GOOD.replace("(Sparsity,)", "(int,)"), "levels holds int, which is not Sparsity"),
    "resources": (
        ALSO.format(
            "from meltpoint.methods.contract import Resources\nresources = Resources(memory=0.0)"
        ),
        "greater than 0",
    ),
    "setting of a search": (
        ALSO.format('search_settings = ("time",)'),
        "there is no setting 'time': did you mean 'times'?",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_breaks_the_contract_is_refused_in_one_sentence(case):
    source, sentence = WRONG[case]
    if case == "resources":
        with pytest.raises(ValueError, match=sentence):
            method_module("halve", source)
        return
    with pytest.raises(MeltpointError, match=sentence) as error:
        methods.load(method_module("halve", source))
    assert str(error.value).startswith("methods/halve.py: ")
    assert "\n" not in str(error.value)


def test_a_method_is_there_for_one_test_alone():
    with pytest.MonkeyPatch.context() as patch:
        method = register_method(patch, method_module("halve", GOOD))
        assert methods.find("halve") is method
        assert method.is_blockwise
        assert not method.facts.updates_weights
        assert method.resources.memory == 2
    with pytest.raises(MeltpointError, match="unknown method 'halve'"):
        methods.find("halve")


def test_a_search_knows_only_its_own_settings_and_the_calibration():
    source = ALSO.format('search_settings = ("times",)\ndef search(source, settings, context): ...')
    method = methods.load(method_module("halve", source))
    overrides = (("quiet", "true"), ("samples", "8"), ("times", "2"))
    step = method.search_step(Step("halve", None, overrides))
    assert str(step) == "halve,samples=8,times=2"


@pytest.mark.parametrize("name", methods.registry())
def test_the_project_s_methods_say_what_they_do_and_take(name):
    module = methods.find(name).module
    assert methods.find(name).summary.count(": ") == 1
    functions = [
        value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and key[0] != "_"
    ]
    for function in functions:
        assert function.__doc__, function.__name__
        signature = inspect.signature(function)
        annotations = [parameter.annotation for parameter in signature.parameters.values()]
        assert inspect.Parameter.empty not in [*annotations, signature.return_annotation]


def test_no_method_is_longer_than_a_page():
    lines = {
        name: len(Path(method.module.__file__).read_text().splitlines())
        for name, method in methods.registry().items()
    }
    assert max(lines.values()) <= 150
    assert lines["wanda"] <= 80
