"""Documents, tasks and vocabularies that jobs would refuse: the study is refused before them."""

import copy
import json
from pathlib import Path

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.evaluations._tasks import index
from meltpoint.study import config as schema
from meltpoint.study.data_files import check_documents
from meltpoint.study.resolved import Study
from meltpoint.workflow.plan import Plan
from meltpoint.workflow.vocabularies import check_vocabularies
from tests.support import tiny_tasks
from tests.support.project import ROOT

PROMPTS = {"generation": "prompts", "prompts": "lines.jsonl", "strategies": ["greedy"]}


def study_of(folder: Path, evaluation: dict, **models: dict) -> Study:
    hub = {"hub": "a/b", "revision": "0" * 40}
    raw = {
        "study": "s",
        "models": {"m": hub, **models},
        "evaluations": {"e": evaluation},
        "chains": {"c": {"models": ["m"], "chains": ["rtn@4bit"], "evaluations": ["e"]}},
    }
    return Study(schema.load(raw, "s.yaml"), folder)


def write_lines(path: Path, lines: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.mark.parametrize(
    ("file", "lines", "evaluation", "sentence"),
    [
        ("boolq/dev.jsonl", [{"question": "x"}], {"tasks": ["boolq"]}, "document 0 .* 'passage'"),
        ("arc_easy/test.jsonl", [], {"tasks": ["arc_easy"]}, "test.jsonl holds no documents"),
        ("lawbench/zero_shot/1-1.json", [{}], {"lawbench": ["1-1"]}, "1-1.json holds no documents"),
        ("gsm8k/test.jsonl", [{"question": "x"}],
         {"generation": "gsm8k", "strategies": ["greedy"]}, "document 0 has no 'answer'"),
        ("lines.jsonl", [], PROMPTS, "holds no documents"),
        ("lines.jsonl", [{"text": "x"}], PROMPTS, "document 0 has no prompt"),
        ("lines.jsonl", [{"prompt": "x"}] * 100, {**PROMPTS, "mauve": True},
         r"e\.mauve: document 0 has no 'reference'"),
        ("lines.jsonl", [{"prompt": "x", "reference": "y"}] * 99, {**PROMPTS, "mauve": True},
         r"e\.mauve: 99 texts are too few for MAUVE"),
    ],
)  # fmt: skip
def test_documents_that_jobs_would_refuse(tmp_path, file, lines, evaluation, sentence):
    write_lines(tmp_path / file, lines)
    study = study_of(tmp_path, {**evaluation, "data": str(tmp_path)})
    with pytest.raises(MeltpointError, match=sentence):
        check_documents(study)


def test_a_subject_without_shots_is_refused(tmp_path):
    tiny_tasks.write(tmp_path)
    study = study_of(tmp_path, {"mmlu_generation": ["astronomy"], "data": str(tmp_path)})
    check_documents(study)
    (tmp_path / "mmlu/dev/astronomy_dev.csv").write_text("Is it?,a,b,c,d,A\n")
    with pytest.raises(MeltpointError, match="has 1 questions: 5 are needed as shots"):
        check_documents(study)


def test_all_evaluations_of_good_files_are_taken(tmp_path):
    tiny_tasks.write(tmp_path)
    for evaluation in tiny_tasks.EVALUATIONS.values():
        check_documents(
            study_of(tmp_path, {**evaluation, "data": str(tmp_path)}, other={"train": {}})
        )


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("bolq", r"evaluations\.e\.tasks: lm-eval has no task 'bolq': did you mean 'boolq'\?$"),
        ("0000000", r"lm-eval has no task '0000000'$"),
        ("humaneval", "humaneval runs code that a model writes: set execute_code: true"),
        ("glue", "glue is a group without a mean over all its documents"),
    ],
)
def test_tasks_that_jobs_would_refuse(tmp_path, task, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        check_documents(study_of(tmp_path, {"tasks": ["gsm8k", task]}))
    if "execute_code" in sentence:
        check_documents(study_of(tmp_path, {"tasks": [task], "execute_code": True}))


def test_lm_evals_own_files_are_not_read_for_tasks_with_local_files(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "files", lambda: pytest.fail("lm-eval's files were read"))
    check_documents(study_of(tmp_path, {"tasks": ["boolq", "mmlu"]}))


def test_tasks_are_left_to_the_jobs_where_lm_eval_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "files", lambda: None)
    check_documents(study_of(tmp_path, {"tasks": ["bolq"]}))


def test_an_amateur_with_another_vocabulary_is_refused(tmp_path):
    evaluation = {**PROMPTS, "strategies": ["contrastive_decoding,amateur=other"]}
    write_lines(tmp_path / "lines.jsonl", [{"prompt": "x"}])
    trained, smaller = ({"train": {"vocabulary": size}} for size in (1024, 512))
    check_vocabularies(study_of(tmp_path, evaluation, m=trained, other=trained))
    with pytest.raises(
        MeltpointError, match=r"e: other has another vocabulary than m \(512 tokens"
    ):
        check_vocabularies(study_of(tmp_path, evaluation, m=trained, other=smaller))


def test_the_jobs_of_a_run_do_not_read_the_documents_again(tmp_path):
    write_lines(tmp_path / "lines.jsonl", [])
    raw = {
        "study": "s",
        "models": {"m": {"train": {}}},
        "evaluations": {"e": PROMPTS},
        "chains": {"c": {"models": ["m"], "chains": ["dense"], "evaluations": ["e"]}},
    }
    Plan(copy.deepcopy(raw), [tmp_path / "s.yaml"], ROOT)
    with pytest.raises(MeltpointError, match=r"^s\.yaml: .*lines\.jsonl holds no documents"):
        Plan(copy.deepcopy(raw), [tmp_path / "s.yaml"], ROOT, read_documents=True)
