"""Tasks that are made from a corpus: the questions, and a model that learned the text."""

import random

import numpy as np
import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._kept import read_kept
from meltpoint.evaluations._tasks import questions
from meltpoint.evaluations._tasks.questions import ANSWER, CONTEXT, questions_of
from meltpoint.model.base_models import link
from tests.support import tiny_study
from tests.support.measuring import job_spec, measure

SIZE = CONTEXT + ANSWER
TEXT = "".join(f"w{n}{' ' if n % 7 else chr(10)}" for n in range(10 * SIZE + 5))


@pytest.mark.parametrize("kind", questions.WRONG_ANSWERS)
def test_the_right_answer_goes_on_with_the_context(kind):
    found = questions_of(TEXT, kind)
    assert len(found) == 10
    for question in found:
        assert question["context"] + question["choices"][question["label"]] in TEXT
        wrong = [c for n, c in enumerate(question["choices"]) if n != question["label"]]
        assert len(question["choices"]) == len(set(question["choices"])) == 4
        assert not any(question["context"] + each in TEXT for each in wrong)
        assert {len(each.split()) for each in question["choices"]} == {ANSWER}
        # Nothing but words tells the choices apart.
        assert len({each[0] for each in question["choices"]}) == 1
    assert {question["label"] for question in found} > {0}
    assert questions_of(TEXT, kind, limit=3) == found[:3]


def test_an_exchange_leaves_white_space_where_it_is():
    words = [" a", "\n  b", " c"] + [" d"] * 9
    assert questions.exchanged(words, 0).startswith(" b\n  a c d")
    assert questions.exchanged(words, 1).startswith(" a\n  c b d")


def test_wrong_answers_of_continuation_are_the_words_of_other_passages():
    passages = [[f" {place}-{n}" for n in range(SIZE)] for place in range(5)]
    found = questions.continuation(passages, 2, random.Random(0))
    places = {each.split()[0] for each in found}
    assert len(places) == 3
    assert places < {f"{n}-{CONTEXT}" for n in (0, 1, 3, 4)}


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(MeltpointError, match=r"a text of 9 words is too short.*208 are needed"):
        questions_of("word " * 9, "order")


def test_a_model_answers_questions_of_a_corpus(tmp_path):
    lines = tiny_study.sentences(400)
    tokenizer = tiny_study.train_tokenizer(lines)
    tiny_study.write_model(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    link(tmp_path / "base", tmp_path / "model", "models.tiny")
    np.save(tmp_path / "c.npy", np.array(tokenizer(" ".join(lines))["input_ids"], np.int32))
    spec = job_spec("tasks", tasks=["corpus_continuation", "corpus_order"], corpus="c", limit=6)
    cell = measure(spec, tmp_path / "model", tmp_path / "e.json", tokens=tmp_path / "c.npy")
    assert cell.status == "ok"
    assert cell.protocol["documents"] == {"corpus_continuation": 6, "corpus_order": 6}
    assert "tokens_hash" in cell.protocol
    samples = read_kept(tmp_path / "e.samples.jsonl")
    assert [len(each["loglikelihoods"]) for each in samples] == [4] * 12
    right = [each["acc_norm"] for each in samples if each["task"] == "corpus_continuation"]
    assert cell.scores["corpus_continuation"].value == pytest.approx(sum(right) / 6)
    assert cell.scores["corpus_order"].value == cell.scores["corpus_order.acc"].value
