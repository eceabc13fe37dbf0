"""LawBench's scores against those of the official functions."""

import json
from collections import Counter
from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._lawbench import data
from meltpoint.evaluations._lawbench.items import Answer
from meltpoint.evaluations._lawbench.predictions import read, score_file
from meltpoint.evaluations._lawbench.proofreading.alignment import alignments
from meltpoint.evaluations._lawbench.proofreading.characters import readings
from meltpoint.evaluations._lawbench.proofreading.edits import edits_of
from meltpoint.evaluations._lawbench.tasks import COUNT_ABSTENTIONS, IDS, score_task, scorers

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = SHARED / "golden/tasks"
QUESTIONS = SHARED / "data/tasks/lawbench/zero_shot"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared goldens are not here")


def golden() -> dict:
    return json.loads((GOLDEN / "lawbench_golden_dev.json").read_text(encoding="utf-8"))["tasks"]


def answers_of(predictions: list[dict]) -> list[Answer]:
    return [
        Answer(p["prediction"], p["refr"], f"句子：\n{p.get('source', '')}") for p in predictions
    ]


@pytest.mark.parametrize("task", IDS)
def test_scores_are_the_official_ones(task):
    for group in golden()[task].values():
        result = score_task(task, answers_of(group["predictions"]))
        assert result.score == pytest.approx(group["whole"]["score"], abs=1e-9)
        official = [v for key, v in group["whole"].items() if key.endswith("stention_rate")]
        assert ([] if result.abstention is None else [result.abstention]) == official


@pytest.mark.parametrize("task", [task for task in IDS if task != "2-1"])
def test_each_answers_score_is_the_official_one(task):
    predictions = [p for group in golden()[task].values() for p in group["predictions"]]
    verdicts = [scorers()[task](answer) for answer in answers_of(predictions)]
    for prediction, verdict in zip(predictions, verdicts, strict=True):
        if prediction["item"].get("skipped"):
            assert verdict is None
        else:
            assert verdict.score == pytest.approx(prediction["item"]["score"], abs=1e-9)


def test_each_sentences_edits_are_the_official_ones():
    for group in golden()["2-1"].values():
        for p, answer in zip(group["predictions"], answers_of(group["predictions"]), strict=True):
            counts = scorers()["2-1"](answer).counts
            assert (counts.tp, counts.fp, counts.fn) == tuple(
                p["item"][k] for k in ("tp", "fp", "fn")
            )
            edits = edits_of(p["source"], p["refr"])
            assert sorted(map(list, edits)) == sorted(p["item"]["ref_edits"])


@pytest.mark.parametrize("task", ["2-3", "2-6", "3-1", "3-3", "3-4", "3-7"])
def test_trivial_answers_score_as_published(task):
    bounds = json.loads((GOLDEN / "lawbench_bounds.json").read_text(encoding="utf-8"))[task]
    questions = json.loads((QUESTIONS / f"{task}.json").read_text(encoding="utf-8"))
    trivial = {
        "gold": lambda question: question["answer"],
        "empty": lambda _: "",
        "echo_prompt": lambda question: f"{question['instruction']}\n{question['question']}",
    }
    for name, text in trivial.items():
        result = score_task(task, [Answer(text(q), q["answer"]) for q in questions])
        assert result.score == pytest.approx(bounds[name]["score"], abs=1e-9)


def test_lists_that_ship_are_those_of_the_data_folder():
    folder = SHARED / "data/tasks/lawbench/proofreading"
    classes = {}
    for line in (folder / "cilin.txt").read_text(encoding="gbk").splitlines():
        code, *words = line.split()
        classes |= {w: (code[0], code[1], code[2:4]) for w in words if len(w) == 1}
    assert data.word_classes() == classes
    pairs = set()
    for line in (folder / "confusion_dict.txt").read_text(encoding="utf-8").splitlines()[::50]:
        character, *others = line.split()
        pairs |= {tuple(sorted((character, o))) for o in others if len(o) == 1 and o != character}
    for first, second in pairs:
        alike = bool(readings(first) & readings(second)) or (first, second) in data.confusable()
        assert alike, (first, second)


# --- cases that the goldens do not hold -----------------------------------------------------------


def test_a_loop_of_digits_is_a_number():
    verdict = scorers()["3-4"](Answer("9" * 5000 + "个月", "刑期:12个月"))
    assert verdict.score < 0


def test_an_edit_counts_once_for_each_alignment_that_has_it():
    # The b may be deleted before or after the transposed pair.
    assert edits_of("ab", "ba") == Counter({(0, 2, "ba"): 1})
    assert edits_of("天", "地方") == Counter({(0, 1, "地方"): 1})


def test_a_degenerate_answer_is_aligned_in_one_way():
    source = "".join(chr(0x4E00 + i) for i in range(90))
    assert len(alignments(source, "!" * 84 + source[40:45:2])) == 1


def test_questions_that_do_not_count_are_left_out():
    answers = [Answer("12个月", "刑期:无期"), Answer("12个月", "刑期:12个月")]
    assert score_task("3-4", answers).score == 1
    assert score_task("3-4", answers[:1]).score is None


def test_every_task_has_a_scorer():
    assert tuple(scorers()) == IDS
    assert set(IDS) > COUNT_ABSTENTIONS


# --- files of predictions -------------------------------------------------------------------------


def write(folder: Path, content: object) -> Path:
    path = folder / "predictions.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_file_of_predictions_is_scored(tmp_path):
    prompt = "纠正句子：\n认定指控实施。\n"
    right = "认定指控事实。"
    content = {
        "1-2": [{"index": 0, "prediction": "A", "refr": "正确答案：A。"}],
        "2-1": [{"index": 0, "prediction": right, "refr": right, "origin_prompt": prompt}],
    }
    assert score_file(write(tmp_path, content)) == {
        "1-2": {"score": 1.0, "abstention": 0.0},
        "2-1": {"score": 1.0, "abstention": None},
    }


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "an object of lists"),
        ({"1-9": []}, "LawBench has no task '1-9'"),
        ({"1-1": {}}, "1-1: a list of predictions"),
        ({"1-1": [{"prediction": "x"}]}, "1-1: prediction 0 has no text 'refr'"),
        ({"2-1": [{"prediction": "x", "refr": "x"}]}, "has no text 'origin_prompt'"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path, content, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        read(write(tmp_path, content))


def test_a_prompt_without_the_sentence_is_refused(tmp_path):
    content = {"2-1": [{"prediction": "x", "refr": "x", "origin_prompt": "x"}]}
    with pytest.raises(MeltpointError, match="2-1: the prompt 'x' has no line"):
        score_file(write(tmp_path, content))
