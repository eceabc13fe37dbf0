"""What a table or figure of changes names and the study does not have is refused."""

from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.resolved import Study

OPERATIONS = {"shortgpt": "P", "awq": "Q"}


def study(chains=("shortgpt@0.2", "shortgpt@0.2+awq@4bit"), models=("m",), **keys):
    """A group of chains, with a table and a figure of what its operations change."""
    shown = {"source": "g", "operations": OPERATIONS, **keys}
    group = {"models": list(models), "chains": list(chains), "evaluations": ["e"]}
    raw = {
        "study": "s",
        "models": {name: {"train": {}} for name in ("m", "n")},
        "corpora": {"t": {"builtin": "python-docs", "split": "test"}},
        "calibrations": {"default": {"corpus": "t"}},
        "evaluations": {"e": {"perplexity": "t", "window": 8}},
        "chains": {"g": group},
        "tables": {"t": {"layout": "changes", "columns": "evaluation", "value": ["e"], **shown}},
        "figures": {"f": {"kind": "changes", "value": "e", **shown}},
    }
    return Study(config.load(raw, "s.yaml"), Path())


def test_what_is_there_is_taken():
    study(change="Q", published_metrics={"e": "stem"})


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"operations": {}}, r"t\.operations: say which operation each method is, such as .awq: P"),
        ({"operations": {"shrtgpt": "P"}}, "'shrtgpt' is no method of g: did you mean 'shortgpt'"),
        ({"change": "F"}, r"t\.change: 'F' is no operation"),
        ({"published_metrics": {"x": "stem"}}, r"published_metrics: 'x' is no score of it"),
        ({"published_metrics": {"e": "stam"}}, "'stam' is no published metric.*'stem'"),
        ({"chains": ["shortgpt@0.2+wanda@0.5"], "operations": {"shortgpt": "P"}}, "no chain of g"),
        ({"models": ["m", "n"]}, r"t\.source: changes are those of one model"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(keys, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        study(**keys)
