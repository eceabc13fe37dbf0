"""Tables and figures that compare chains are checked before anything runs."""

from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.resolved import Study

STUDY = {
    "study": "s",
    "models": {"m": {"train": {}}},
    "corpora": {"text": {"builtin": "python-docs", "split": "test"}},
    "calibrations": {"default": {"corpus": "text", "samples": 8, "length": 16}},
    "evaluations": {"ppl": {"perplexity": "text", "window": 32}, "size": {"size": "weights"}},
    "sweeps": {
        "pruning": {
            "models": ["m"],
            "methods": ["magnitude", "wanda", "besa"],
            "levels": [0.5, 0.6],
            "settings": {"seed": [0, 1]},
            "evaluations": ["ppl", "size"],
        }
    },
    "chains": {
        "mixed": {"models": ["m"], "chains": ["wanda@0.5", "rtn@4bit"], "evaluations": ["ppl"]},
        "widths": {"models": ["m"], "chains": ["rtn@4bit", "rtn@8bit"], "evaluations": ["ppl"]},
    },
}


def study(section="tables", **keys):
    part = {"source": "pruning", "value": "ppl", **keys}
    part |= {"layout": "pairs"} if section == "tables" and "equivalence" not in keys else {}
    part |= {"kind": "pairs"} if section == "figures" else {}
    return Study(config.load({**STUDY, section: {"x": part}}, "s.yaml"), Path())


@pytest.mark.parametrize("section", ["tables", "figures"])
def test_pairs_at_a_level_or_of_a_group(section):
    study(section, level=0.5)
    study(section, source="widths")


@pytest.mark.parametrize("section", ["tables", "figures"])
@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"level": 0.7}, "{}.level: '0.7' is no level of pruning"),
        ({}, "{}.level: pairs of a sweep are made at one of its levels: name one of 0.5, 0.6"),
        ({"value": "size", "level": 0.5}, "{}.value: size keeps no value per window"),
        (
            {"source": "mixed", "level": "4bit"},
            "{}: mixed has rtn alone at 4-bit, and a pair needs",
        ),
    ],
)
def test_what_cannot_be_paired(section, keys, sentence):
    with pytest.raises(MeltpointError, match=sentence.format(rf"{section}\.x")):
        study(section, **keys)


def test_equivalence_needs_no_level():
    study(equivalence="0.5%")
    with pytest.raises(MeltpointError, match=r"tables\.x\.equivalence: a margin lies above 0 %"):
        study(equivalence="0%")


def predicting(**keys):
    sweep = {**STUDY["sweeps"]["pruning"], "predict": {"hold_out": [0.6]}, **keys}
    return Study(config.load({**STUDY, "sweeps": {"pruning": sweep}}, "s.yaml"), Path())


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"predict": {"hold_out": [0.7]}}, r"predict\.hold_out: '0.7' is no level of the sweep"),
        ({"evaluations": ["size"]}, r"predict: curves are of perplexities, and the sweep has none"),
        ({"predict": {"hold_out": []}}, r"predict\.hold_out: "),
    ],
)
def test_levels_to_predict_are_levels_of_the_sweep(keys, sentence):
    predicting()
    with pytest.raises(MeltpointError, match=rf"sweeps\.pruning\.{sentence}"):
        predicting(**keys)
