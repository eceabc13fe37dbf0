"""The evaluation lawbench: prompts from local files, answers, scores, refusals, differences."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meltpoint import evaluations
from meltpoint.errors import MeltpointError
from meltpoint.evaluations._answers import Answers, Generated
from meltpoint.evaluations._kept import read_kept, write_kept
from meltpoint.evaluations._lawbench import data
from meltpoint.evaluations._lawbench.questions import Question, read_questions
from meltpoint.evaluations._lawbench.samples import bounds, estimates, sample_of
from meltpoint.evaluations._lawbench.tasks import IDS
from meltpoint.evaluations._means import mean_of, mean_of_units
from meltpoint.evaluations.windows import error_of_mean
from meltpoint.model.base_models import link
from tests.support.measuring import job_spec, measure
from tests.support.project import ROOT

SHARED = Path(__file__).parents[3] / "shared/data"
MODEL = SHARED / "models/stories260K"
needs_shared = pytest.mark.skipif(not MODEL.is_dir(), reason="the shared model is not here")

TERMS = [
    {"instruction": "判决?", "question": f"问题{n}", "answer": f"刑期:{n}个月"}
    for n in (12, 24, 36)
]


def folder_of(tmp_path: Path, **tasks: list) -> Path:
    for task, questions in tasks.items():
        path = tmp_path / f"lawbench/zero_shot/{task}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(questions), encoding="utf-8")
    return tmp_path


def samples_of(*texts: str, degenerate: tuple[str, ...] = ()) -> list[dict]:
    questions = [
        Question("3-4", n, "", document["answer"]) for n, document in enumerate(TERMS[: len(texts)])
    ]
    answers = [Generated([1], text, list(degenerate)) for text in texts]
    return list(map(sample_of, questions, answers))


def test_prompts_are_instruction_new_line_question(tmp_path):
    folder = folder_of(tmp_path, **{"3-4": TERMS})
    questions = read_questions(folder / "lawbench/zero_shot/3-4.json", "3-4", limit=2)
    assert [q.prompt for q in questions] == ["判决?\n问题12", "判决?\n问题24"]
    assert [q.document for q in questions] == [0, 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "holds no documents"),
        ({}, "holds no documents"),
        ([{"instruction": "x", "question": "y"}], "document 0 has no text 'answer'"),
    ],
)
def test_a_wrong_file_of_questions_is_refused(tmp_path, content, sentence):
    folder = folder_of(tmp_path, **{"3-4": content})
    with pytest.raises(MeltpointError, match=sentence):
        read_questions(folder / "lawbench/zero_shot/3-4.json", "3-4")


def test_scores_follow_from_the_samples():
    found = estimates(samples_of("12个月", "不知道", "36个月"), ["3-4"], refuse_above=0.2)
    assert found["3-4"].value == pytest.approx(2 / 3)
    assert found["3-4"].stderr == pytest.approx(1 / 3)
    assert found["3-4.abstention"].value == pytest.approx(1 / 3)
    assert found["mean"].value == pytest.approx(2 / 3)
    assert found["degenerate.constant"].value == 0


def test_degenerate_answers_refuse_the_score_and_the_mean():
    samples = samples_of("!!!!", "!!!!", degenerate=("constant", "non_finite"))
    found = estimates(samples, ["3-4"], refuse_above=0.2)
    assert "100% of 2 answers are degenerate" in found["3-4"].refused
    assert found["mean"].refused == f"1 of its 1 scores is refused; 3-4: {found['3-4'].refused}"
    assert found["3-4.abstention"].value == 1
    assert found["degenerate.constant"].value == 1
    assert estimates(samples, ["3-4"], refuse_above=1)["3-4"].refused is None


def test_a_task_whose_questions_do_not_count_is_refused_not_zero():
    question = Question("3-4", 0, "", "刑期:无期")
    found = estimates([sample_of(question, Generated([1], "12个月", []))], ["3-4"], 0.2)
    assert "leaves all of these questions out" in found["3-4"].refused


def test_the_means_units_have_its_error():
    scores = [mean_of_units(units) for units in ([0, 1, 1, 0, 1], [0.5, 0.25, 1])]
    mean = mean_of(dict(enumerate(scores)))
    assert mean.units.mean() == pytest.approx(mean.value)
    assert mean.value == pytest.approx(sum(score.value for score in scores) / 2)
    assert error_of_mean(mean.units) == pytest.approx(mean.stderr, rel=0.25)


def test_scores_of_the_same_answers_are_not_independent():
    score, other = mean_of_units([0, 1, 1, 0, 1]), mean_of_units([1, 0, 0])
    twice = mean_of({"group": score, "task": score}, {"group": range(5), "task": range(5)})
    assert twice.stderr == pytest.approx(score.stderr)
    apart = {"task": score, "other": other}, {"task": range(5), "other": range(5, 8)}
    assert mean_of(*apart).stderr == mean_of(apart[0]).stderr
    # (u - v) / n of each answer, summed over both scores and halved.
    both = np.concatenate([score.units, other.units])
    shared = mean_of(
        {"group": mean_of_units(both), "task": score}, {"group": range(8), "task": range(5)}
    )
    parts = (both - both.mean()) / 16
    parts[:5] += (score.units - score.value) / 10
    assert shared.stderr == pytest.approx(parts.std(ddof=1) * np.sqrt(8))
    assert shared.units.mean() == pytest.approx(shared.value)


def test_every_task_has_its_floor_and_ceiling():
    assert tuple(bounds()) == IDS
    for each in bounds().values():
        assert 0 <= each["floor"] < each["ceiling"] <= 1
    assert bounds()["3-4"]["floor_answer"] == "18个月"
    assert bounds()["3-4"]["floor"] == pytest.approx(0.8197, abs=1e-4)
    assert set(data.labels()) == {"2-2", "2-3", "2-4", "2-6", "2-9", "3-3"}


def test_samples_are_read_as_they_were_written(tmp_path):
    samples = [{"text": "a\u2028b\n", "score": 0.5}, {"text": "", "score": None}]
    write_kept(tmp_path / "e.samples.jsonl", samples)
    assert read_kept(tmp_path / "e.samples.jsonl") == samples
    write_kept(tmp_path / "none.samples.jsonl", None)
    assert read_kept(tmp_path / "none.samples.jsonl") == []


def test_cut_prompts_are_said():
    answers = Answers([Generated([], "", [])] * 3, cut_prompts=2)
    (warning,) = answers.warnings(512)
    assert warning.startswith("2 of 3 prompts are longer than the model's context of 512 tokens")


def test_tasks_are_named_in_any_order_and_no_others():
    settings = evaluations.find("lawbench").settings_class
    assert settings(lawbench=["3-8", "1-1"]).tasks == ("1-1", "3-8")
    for wrong in (["1-9"], [], "some"):
        with pytest.raises(ValueError, match="lawbench"):
            settings(lawbench=wrong)


def stories(tmp_path: Path) -> Path:
    link(MODEL, tmp_path / "stories", "models.stories")
    return tmp_path / "stories"


@needs_shared
def test_a_checkpoint_is_measured_and_compared_with_dense(tmp_path):
    folder = folder_of(tmp_path, **{"3-4": TERMS, "1-2": [
        {"instruction": "i", "question": "q" * 3000, "answer": "正确答案：B。"}
    ] * 2})  # fmt: skip
    spec = job_spec("lawbench", lawbench=["1-2", "3-4"], max_new_tokens=9, refuse_above=1.0)
    dense = tmp_path / "dense.json"
    model = stories(tmp_path)
    cell = measure(spec, model, dense, data=folder)
    assert set(cell.scores) >= {"mean", "1-2", "3-4", "1-2.abstention", "degenerate.cut"}
    assert cell.protocol["prompts_cut"] == 2
    assert cell.protocol["bounds"]["3-4"]["ceiling"] == 1
    assert any("cut from the left" in warning for warning in cell.provenance["warnings"])
    samples = read_kept(tmp_path / "dense.samples.jsonl")
    assert [(s["task"], s["document"]) for s in samples] == [
        *(("1-2", n) for n in range(2)), *(("3-4", n) for n in range(3))
    ]  # fmt: skip
    again = measure(spec, model, tmp_path / "again.json", dense=dense, data=folder)
    assert again.scores["mean"].difference.value == 0
    assert again.scores["mean"].difference.stderr == 0


@needs_shared
def test_more_new_tokens_than_the_context_holds_are_refused(tmp_path):
    folder = folder_of(tmp_path, **{"3-4": TERMS})
    spec = job_spec("lawbench", lawbench=["3-4"], max_new_tokens=5000)
    with pytest.raises(MeltpointError, match=r"e\.max_new_tokens: 5000 new tokens leave no room"):
        measure(spec, stories(tmp_path), tmp_path / "e.json", data=folder)


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "meltpoint.evaluations.lawbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_predictions_of_a_file_are_scored_as_one_json_object(tmp_path):
    path = tmp_path / "predictions.json"
    content = {
        "3-4": [{"index": 0, "prediction": "一年", "refr": "刑期:12个月"}],
        "3-2": [{"index": 0, "prediction": "刑法", "refr": "刑法"}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    result = run(str(path))
    scores = json.loads(result.stdout)
    assert scores["3-4"] == {"score": 1.0, "abstention": 0.0}
    assert scores["3-2"]["score"] == pytest.approx(1, abs=1e-7)
    assert scores["3-2"]["abstention"] is None
    assert set(scores) == {"3-4", "3-2"}


def test_a_wrong_reference_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"3-7": [{"prediction": "1", "refr": "many"}]}), encoding="utf-8")
    result = run(str(path))
    assert result.returncode == 1
    assert result.stderr.startswith("Error: the reference 'many' is not in LawBench's form")
