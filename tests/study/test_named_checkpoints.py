"""Checkpoints of the study that an evaluation reads besides the one that it measures."""

from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.hashing import HashCache
from meltpoint.study import config as schema
from meltpoint.study.resolved import Study
from meltpoint.workflow.job_specs.study import JobSpecs
from tests.support.project import ROOT


def study_in(folder: Path, amateur: str, other: str = "0" * 40, **keys: object) -> Study:
    (folder / "prompts.jsonl").write_text('{"prompt": "x"}\n')
    raw = {
        "study": "s",
        "models": {
            "m": {"hub": "a/b", "revision": "0" * 40},
            "other": {"hub": "a/c", "revision": other},
        },
        "evaluations": {
            "texts": {
                "generation": "prompts",
                "prompts": "prompts.jsonl",
                "strategies": ["greedy", f"contrastive_decoding,amateur={amateur}"],
                **keys,
            }
        },
        "chains": {"dense": {"models": ["m"], "chains": ["dense"], "evaluations": ["texts"]}},
    }
    return Study(schema.load(raw, "s.yaml"), folder)


def spec(study: Study, tmp_path: Path):
    specs = JobSpecs(study, ROOT / "envs", HashCache(tmp_path / "hashes.json"))
    return specs.evaluation("m", "dense", "texts")


def test_a_named_chain_is_a_checkpoint_that_the_study_makes(tmp_path):
    study = study_in(tmp_path, "other/rtn@4bit,group_size=32")
    assert study.named_checkpoints == [("other", "rtn@4bit,group_size=32")]
    assert ("other", "rtn@4bit,group_size=32") in study.checkpoints
    assert study_in(tmp_path, "other").named_checkpoints == [("other", "dense")]


def test_another_amateur_makes_the_cell_stale(tmp_path):
    before = spec(study_in(tmp_path, "other"), tmp_path)
    assert spec(study_in(tmp_path, "other"), tmp_path).json() == before.json()
    changed = spec(study_in(tmp_path, "other", other="1" * 40), tmp_path)
    assert changed.settings == before.settings
    assert changed.json() != before.json()


@pytest.mark.parametrize(
    ("amateur", "sentence"),
    [
        ("othr", r"evaluations\.texts: undefined model 'othr': did you mean 'other'"),
        ("other/rtm@4bit", r"evaluations\.texts: .*'rtm'.* did you mean 'rtn'"),
        ("other/rtn@0.5", r"evaluations\.texts: .*rtn"),
    ],
)
def test_a_checkpoint_that_cannot_be_made_is_refused_with_the_study(tmp_path, amateur, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        study_in(tmp_path, amateur)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"prompts": "none.jsonl"}, r"evaluations\.texts\.data: \. has no none\.jsonl"),
        ({"strategies": ["beam,groups=2"]}, "the strategy has no setting 'groups'"),
        ({"generation": "mbpp", "prompts": None}, "execute_code: mbpp runs programs"),
    ],
)
def test_wrong_settings_are_refused_with_the_study(tmp_path, keys, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        study_in(tmp_path, "other", **keys)
