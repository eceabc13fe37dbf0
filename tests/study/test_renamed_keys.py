"""Keys that have a new name: the old one is read with a warning, and means the same."""

import pytest
import yaml

from meltpoint.errors import MeltpointError
from meltpoint.study import config, renamed_keys
from tests.support.tiny_study import STUDY

OLD = """
tables:
  pruning: {of: pruning, value: prose-32, over: seed, achieved: false, mark: false,
            published: mpt_unstructured_ppl, beside: {wanda: Wanda}}
  ladder: {of: pruning, value: prose-32, published: mpt_gguf, beside: {tiny: Qwen2.5-3B}}
figures:
  pruning: {of: pruning, kind: spread, x: method, value: prose-32, over: seed}
  ladder: {of: pruning, kind: tradeoff, value: prose-32, published: mpt_gguf,
           beside: {tiny: Qwen2.5-3B}}
"""
NEW = """
tables:
  pruning: {source: pruning, value: prose-32, average_over: seed, show_achieved: false,
            mark_best: false, published: mpt_unstructured_ppl, compare_with: {wanda: Wanda}}
  ladder: {source: pruning, value: prose-32, published: mpt_gguf, published_models: {tiny: Qwen2.5-3B}}
figures:
  pruning: {source: pruning, kind: spread, x: method, value: prose-32, average_over: seed}
  ladder: {source: pruning, kind: tradeoff, value: prose-32, published: mpt_gguf,
           published_models: {tiny: Qwen2.5-3B}}
"""


def study(outputs: str) -> dict:
    return yaml.safe_load(STUDY) | yaml.safe_load(outputs)


def test_an_old_spelling_means_what_the_new_one_means():
    before = study(OLD)
    assert config.load(before, "a") == config.load(study(NEW), "a")
    assert before == study(OLD), "the study that was read is changed"


def test_each_old_key_has_one_warning_that_names_the_new_one():
    lines = renamed_keys.warnings(study(OLD), "mine.yaml")
    assert len(lines) == 11
    assert lines[0] == (
        "mine.yaml: tables.pruning.of: this key is now called source; the old name will be refused in "
        "the next release"
    )
    assert "tables.pruning.beside: this key is now called compare_with" in "\n".join(lines)
    assert "tables.ladder.beside: this key is now called published_models" in "\n".join(lines)
    assert renamed_keys.warnings(study(NEW), "mine.yaml") == []


def test_the_old_and_the_new_key_together_are_refused():
    both = study("tables: {t: {of: pruning, source: pruning, value: prose-32}}")
    with pytest.raises(MeltpointError, match=r"s\.yaml: tables\.t\.of: source is the same key"):
        config.load(both, "s.yaml")


@pytest.mark.parametrize("outputs", ["tables: 3", "tables: {t: [of]}", "tables: {t: null}"])
def test_what_is_no_section_is_left_to_the_study(outputs):
    with pytest.raises(MeltpointError, match=r"^s\.yaml: tables"):
        config.load(study(outputs), "s.yaml")
