"""Names and chains that cannot be names of files, or are those of other files."""

import copy
from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.path_names import LONGEST
from meltpoint.study.resolved import Study
from tests.support.small_study import SMALL

SWEEP = {"models": ["m"], "methods": ["wanda"], "levels": [0.5], "evaluations": ["e"]}
LONG = "+".join(f"sparsegpt@0.{n}1,blocksize={n},percdamp=0.02,samples=3" for n in range(1, 6))


def study_of(**sections: dict) -> Study:
    """The small study with a sweep, and with more in some of its sections."""
    study = {**copy.deepcopy(SMALL), "sweeps": {"s": SWEEP}}
    for section, parts in sections.items():
        study[section] = {**study.get(section, {}), **parts}
    return Study(config.load(study, "s.yaml"), Path())


def chains(chain: str) -> dict:
    return {"c": {"models": ["m"], "chains": [chain], "evaluations": ["e"]}}


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"chains": chains(LONG)},
         r"chains.c: the chain sparsegpt@0.11\S+ names a folder and has 2\d\d characters, more than"),
        ({"chains": chains("sparsegpt@0.5,percdamp=1e16")},
         r"chains.c: sparsegpt@0.5,percdamp=1e\+16 cannot be a folder's name"),
        ({"sweeps": {"s": {**SWEEP, "methods": ["sparsegpt"], "settings": {"percdamp": [1e20]}}}},
         r"sweeps.s: sparsegpt@0.5,percdamp=1e\+20 cannot be a folder's name"),
        ({"evaluations": {"x" * 213: {"size": "weights"}}}, "evaluations.x+: the name has 213 char"),
        ({"tables": {"cost": {"source": "s", "value": "e"}}}, "tables.cost: each run writes"),
        ({"corpora": {"t.ends": SMALL["corpora"]["t"]}}, "corpora.t.ends: a file of t has this name"),
        ({"corpora": {"t.documents": SMALL["corpora"]["t"]}}, "corpora.t.documents: a file of t has"),
        ({"sweeps": {"s.predictions": SWEEP}}, "sweeps.s.predictions: a file of s has this name"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_path_is_refused(sections, sentence):
    with pytest.raises(MeltpointError, match=f"^{sentence}"):
        study_of(**sections)


def test_the_longest_name_is_taken():
    assert study_of(evaluations={"x" * LONGEST: {"size": "weights"}}).chains("s") == ["wanda@0.5"]
