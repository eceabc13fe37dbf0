"""Sets of instructions: their texts, and where the response begins among their tokens."""

import json

import numpy as np
import pytest

from meltpoint.data.corpora import documents
from meltpoint.data.instructions import read_pairs
from meltpoint.data.tokenization import tokenizer_of, write_instructions
from meltpoint.errors import MeltpointError
from meltpoint.study.sections import LocalCorpus
from tests.support import tiny_study

RECORDS = [
    {"instruction": "Add", "input": "1 2", "output": "3"},
    {"instruction": "Greet", "input": "", "output": "hello"},
]
COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}


@pytest.fixture
def corpus(tmp_path):
    """A set of instructions as a study declares it, and its file."""
    path = tmp_path / "set.json"
    path.write_text(json.dumps(RECORDS))

    def declare(**changes):
        columns = COLUMNS | changes
        return LocalCorpus(path=path, instructions=columns).model_dump(mode="json"), path

    return declare


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instructions") / "model"
    tiny_study.write_model(folder)
    tiny_study.train_tokenizer(tiny_study.sentences()).save_pretrained(folder)
    return folder


def test_a_record_is_lines_or_has_alpacas_headings(corpus):
    assert read_pairs(*corpus()) == [("Add\n1 2\n", "3"), ("Greet\n", "hello")]
    first, second = (prompt for prompt, _ in read_pairs(*corpus(template="alpaca")))
    assert first.endswith("### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n")
    assert "### Input" not in second
    assert documents(*corpus()) == ["Add\n1 2\n3", "Greet\nhello"]


@pytest.mark.parametrize("key", ["prompt", "query", "response"])
def test_a_column_that_is_not_there_is_named(key, corpus):
    with pytest.raises(MeltpointError, match=f"'nowhere': name the column of the {key}"):
        read_pairs(*corpus(**{key: "nowhere"}))


def test_a_set_whose_records_have_no_query_is_read(corpus):
    """Many sets have the column of queries, and nothing in it."""
    declared, path = corpus()
    path.write_text(json.dumps([{**record, "input": ""} for record in RECORDS]))
    assert read_pairs(declared, path) == [("Add\n", "3"), ("Greet\n", "hello")]


def test_a_set_without_prompts_is_empty(corpus):
    declared, path = corpus()
    path.write_text(json.dumps([{**record, "instruction": " "} for record in RECORDS]))
    with pytest.raises(MeltpointError, match="empty: it has no prompts"):
        read_pairs(declared, path)


@pytest.mark.parametrize("answered", [True, False])
def test_the_tokens_before_a_response_are_counted(answered, corpus, model, tmp_path):
    declared = corpus() if answered else corpus(response=None)
    files = [tmp_path / name for name in ("tokens.npy", "offsets.npy", "responses.npy")]
    write_instructions(*declared, model, *files)
    tokens, offsets, responses = map(np.load, files)
    words = tokenizer_of(model)
    for place, (prompt, response) in enumerate(read_pairs(*declared)):
        first, second = words(prompt).input_ids, words(response).input_ids
        assert tokens[offsets[place] : offsets[place + 1]].tolist() == [*first, *second]
        assert responses[place] == (len(first) if answered else 0)
