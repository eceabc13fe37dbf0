"""What a cluster takes as one submission, and what its head node runs itself."""

import re

import pytest

from meltpoint.study.config import load
from meltpoint.study.resolved import Study
from meltpoint.workflow.groups import Groups
from tests.support.project import ROOT

tiny_study = pytest.importorskip("tests.support.tiny_study", reason="the tiny model needs torch")
LOCAL = ("link_model", "fetch_model", "table", "figure", "report_page")


class Wildcards:
    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.fixture
def groups(tmp_path):
    tiny_study.write(tmp_path / "studies")
    raw = tiny_study.study()
    raw["evaluations"]["speed"] = {"speed": "generation", "prompt": 8, "generated": 8}
    (tmp_path / "studies/prompts.jsonl").write_text('{"prompt": "a"}\n')
    raw["evaluations"]["texts"] = {
        "generation": "prompts",
        "prompts": "prompts.jsonl",
        "strategies": ["contrastive_decoding,amateur=tiny/magnitude@0.5"],
    }
    return Groups(Study(load(raw, "tiny.yaml"), tmp_path / "studies"))


def cell(chain, evaluation):
    return Wildcards(model="tiny", chain=chain, evaluation=evaluation)


def test_a_compression_and_the_cells_of_its_checkpoint_are_one_submission(groups):
    name = groups.of_compression(Wildcards(model="tiny", prefix="wanda@0.5+", step="rtn@4bit"))
    assert groups.of_evaluation(cell("wanda@0.5+rtn@4bit", "prose-32")) == name
    assert groups.of_evaluation(cell("wanda@0.5+rtn@4bit", "bits")) == name
    assert groups.of_evaluation(cell("wanda@0.5", "bits")) != name
    assert re.fullmatch(r"[\w.+-]+", name)


def test_what_others_wait_for_or_needs_a_machine_for_itself_is_in_no_group(groups):
    """Chains are compared with the dense cell; a group that held it would hold the whole study."""
    assert groups.of_evaluation(cell("dense", "prose-32")) is None
    assert groups.of_evaluation(cell("wanda@0.5", "speed")) is None
    assert groups.of_evaluation(cell("wanda@0.5", "texts")) is None


@pytest.mark.parametrize("rule", LOCAL)
def test_the_head_node_links_and_draws(rule):
    text = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    body = re.search(rf"^rule {rule}:\n((?:    .*\n|\n)+)", text, flags=re.MULTILINE)[1]
    assert "localrule: True" in body
