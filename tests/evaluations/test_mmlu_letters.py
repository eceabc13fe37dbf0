"""Letters that answers name, against OpenCompass' extractors."""

import json
from pathlib import Path

import pytest

from meltpoint.evaluations._mmlu.letters import first_capital, first_line, first_option

GOLDEN = Path(__file__).parents[3] / "shared/golden/tasks/mmlu_gen_golden_dev.json"


@pytest.mark.skipif(not GOLDEN.is_file(), reason="the shared goldens are not here")
def test_letters_are_those_of_opencompass():
    predictions = json.loads(GOLDEN.read_text(encoding="utf-8"))["predictions"]
    assert len(predictions) == 50
    for each in predictions:
        assert first_option(each["prediction"]) == each["first_option_ABCD"], each["prediction"]
        assert first_capital(each["prediction"]) == each["first_capital"], each["prediction"]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("答案选项为 **(C)**", "C"),
        ("The answer is **D**, not A, says he", "D"),
        ("the correct option is \\boxed{B}", "B"),
        ("B 是正确的, A 不是", "B"),
        ("A 是错的, 所以 C。", "C"),
        # An earlier rule wins over an earlier place.
        ("Answer: A. The answer is B. 答案是 C", "C"),
        # A later rule is tried where an earlier one reads no letter.
        ("答案是对的。 B: yes", "B"),
        ("answer: b", ""),
        ("It is D or B", "B"),
        ("1) C 2) A", "A"),
        ("D. because of A", "A"),
        ("so X", ""),
    ],
)
def test_rules_in_their_order(text, letter):
    assert first_option(text) == letter


def test_the_first_line_is_the_answer_alone():
    text = "\n B\n\nThere is a question.\nAnswer: C"
    assert first_option(text) == "C"
    assert first_option(first_line(text)) == "B"
    assert first_line(" \n") == ""
