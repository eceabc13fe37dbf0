"""Every architecture that transformers builds as a causal language model runs, or is refused."""

import re
from pathlib import Path

import pytest

from tests.support.architecture_trial import try_out
from tests.support.tiny_architectures import ARCHITECTURES

TABLE = Path(__file__).parents[2] / "docs/architectures.md"


def outcomes() -> dict[str, str]:
    """The outcome that the docs state, by architecture."""
    rows = re.findall(
        r"^\| (runs|refused|not tried)[^|]*\| \d+ \| (.*) \|$", TABLE.read_text(), re.M
    )
    return {name: outcome for outcome, names in rows for name in names.split(", ")}


def test_the_table_has_all_architectures():
    assert sorted(outcomes()) == ARCHITECTURES


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_plain_transformers_agrees_or_the_model_is_refused(name, tmp_path):
    trial = try_out(name, tmp_path)
    assert trial.difference <= 1e-4
    expected = {"not tried": "no tiny model"}
    assert trial.outcome == expected.get(outcomes()[name], outcomes()[name]), trial.reason
