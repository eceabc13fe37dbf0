"""The grammar: one spelling for each step, one sentence for what is none."""

import pytest

from meltpoint import methods
from meltpoint.chain import Bits, Pattern, Scheme, Sparsity, parse_chain, parse_level, parse_step
from meltpoint.errors import MeltpointError


@pytest.mark.parametrize(
    ("value", "level", "spelling"),
    [
        (0.5, Sparsity(0.5), "0.5"),
        ("0.50", Sparsity(0.5), "0.5"),
        ("2:4", Pattern(2, 4), "2of4"),
        ("4of8", Pattern(4, 8), "4of8"),
        ("4bit", Bits(4), "4bit"),
        ("q4_k_m", Scheme("q4_k_m"), "q4_k_m"),
        ("w8a8", Scheme("w8a8"), "w8a8"),
    ],
)
def test_levels(value, level, spelling):
    assert parse_level(value) == level
    assert str(level) == spelling


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (124, r'unquoted 2:4 as the number 124; write "2:4" in quotes'),
        (248, r"unquoted 4:8"),
        (1.5, "between 0 and 1"),
        (0, "between 0 and 1"),
        (-0.1, "between 0 and 1"),
        ("4:2", "0 < N < M"),
        ("32bit", "between 1 and 16"),
        ("half!", "is no level"),
    ],
)
def test_what_is_no_level(value, message):
    with pytest.raises(MeltpointError, match=message):
        parse_level(value)


def canonical(text):
    return "+".join(str(methods.find(s.method).canonical(s)) for s in parse_chain(text))


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("wanda@2:4", "wanda@2of4"),
        ("wanda@0.50,calibration=default", "wanda@0.5"),
        ("sparsegpt@0.5,percdamp=0.10,blocksize=64", "sparsegpt@0.5,blocksize=64,percdamp=0.1"),
        ("sparsegpt@0.5,percdamp=0.01", "sparsegpt@0.5"),
        ("wanda@0.5,samples=64 + sparsegpt@0.7", "wanda@0.5,samples=64+sparsegpt@0.7"),
    ],
)
def test_one_spelling(text, spelling):
    assert canonical(text) == spelling
    assert canonical(spelling) == spelling


def test_dense_is_the_empty_chain():
    assert parse_chain("dense") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wanda@", "is no step"),
        ("wanda@0.5++sparsegpt@0.5", "is no step"),
        ("Wanda@0.5", "is no step"),
        ("wanda@0.5,samples", "is no setting"),
        ("wanda@0.5,calibration=a/b", "is no setting"),
        ("wanda@0.5,samples=1,samples=2", "twice"),
    ],
)
def test_what_does_not_parse(text, message):
    with pytest.raises(MeltpointError, match=message):
        parse_chain(text)


def test_settings_are_the_methods_own():
    step = parse_step("sparsegpt@0.5,percdam=0.1")
    with pytest.raises(MeltpointError, match=r"unknown setting 'percdam'.*did you mean 'percdamp'"):
        methods.find("sparsegpt").settings(step)
    with pytest.raises(MeltpointError, match="setting percdamp: must be greater than 0"):
        methods.find("sparsegpt").settings(parse_step("sparsegpt@0.5,percdamp=-1"))


def test_levels_belong_to_a_kind():
    with pytest.raises(MeltpointError, match="no unstructured method takes this level"):
        methods.find("wanda").check_level(Bits(4))
    with pytest.raises(MeltpointError, match="needs a level"):
        methods.find("wanda").check_level(None)
