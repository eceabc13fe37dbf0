"""Tasks from local files: documents, prompts, bad input; and those of lm-eval's index."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from meltpoint import evaluations
from meltpoint.errors import MeltpointError
from meltpoint.evaluations._tasks import harness, local
from meltpoint.evaluations._tasks.documents import read_documents

ARC = {
    "id": "1",
    "question": {
        "stem": "Is it?",
        "choices": [{"text": "yes", "label": "A"}, {"text": "no", "label": "B"}],
    },
    "answerKey": "B",
}
ROW = "Is it?,yes,no,perhaps,never,{}"


def settings_of(**keys):
    return evaluations.find("tasks").settings_class(**keys)


def folder_of(tmp_path: Path, files: dict[str, list[str]]) -> Path:
    for name, lines in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    return tmp_path


def requests_of(settings, data: Path | None, limit: int | None = None) -> list[tuple]:
    """What lm-eval asks a model, and the right choice of each document."""
    (named,) = harness.load(settings, data, "evaluations.e")
    named.task.build_all_requests(limit=limit, rank=0, world_size=1)
    return [(*each.args, named.task.doc_to_target(each.doc)) for each in named.task.instances]


def test_every_file_names_lm_evals_own():
    for task in local.tasks().values():
        assert task.questions or (harness.FOLDER / task.include).is_file(), task.name


def test_mmlu_has_the_groups_of_lm_eval():
    assert len(local.tasks_of("mmlu")) == 57
    assert len(local.tasks_of("mmlu_stem", ["mmlu_anatomy"])) == 18
    assert "mmlu_professional_law" in local.groups()["mmlu_humanities"]
    assert local.tasks_of("mmlu_anatomy") == ("mmlu_anatomy",)


def test_mmlu_prompts_have_the_shots_of_the_file(tmp_path):
    data = folder_of(
        tmp_path,
        {
            "mmlu/dev/astronomy_dev.csv": [ROW.format("A").replace("Is it", "Shot")] * 5,
            "mmlu/test/astronomy_test.csv": [ROW.format("C"), ROW.format("D")],
        },
    )
    asked = requests_of(settings_of(tasks=["mmlu_astronomy"], data="d", shots=2), data)
    choices = "?\nA. yes\nB. no\nC. perhaps\nD. never\nAnswer:"
    shot = f"Shot{choices} A\n\n"
    start = "The following are multiple choice questions (with answers) about astronomy.\n\n"
    assert [(a, b) for a, b, _ in asked[:4]] == [
        (f"{start}{shot}{shot}Is it{choices}", f" {letter}") for letter in "ABCD"
    ]
    assert [right for *_, right in asked[::4]] == [2, 3]


def test_a_folder_asks_what_the_hub_asks(tmp_path, monkeypatch):
    import datasets

    data = folder_of(tmp_path, {"arc_easy/test.jsonl": [json.dumps(ARC)] * 3})
    choices = {"text": ["yes", "no"], "label": ["A", "B"]}
    row = {"id": "1", "question": "Is it?", "choices": choices, "answerKey": "B"}
    rows = datasets.Dataset.from_list([row] * 3)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda **_: dict.fromkeys(("train", "validation", "test"), rows)
    )
    folder = requests_of(settings_of(tasks=["arc_easy"], data="d"), data, limit=2)
    assert folder == requests_of(settings_of(tasks=["arc_easy"]), None, limit=2)
    assert folder[:2] == [
        ("Question: Is it?\nAnswer:", " yes", 1),
        ("Question: Is it?\nAnswer:", " no", 1),
    ]


def test_a_hub_that_cannot_be_reached_is_a_sentence(monkeypatch):
    import datasets

    def fail(**_):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(MeltpointError, match=r"e\.tasks: piqa cannot be loaded .*no route.*`data`"):
        harness.load(settings_of(tasks=["piqa"]), None, "evaluations.e")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "test.jsonl holds no documents"),
        (["{"], "test.jsonl cannot be read as JSON lines"),
        ([json.dumps({**ARC, "question": {"stem": "Is it?"}})], "document 0 .* 'choices'"),
        (
            [json.dumps(ARC), json.dumps({**ARC, "answerKey": None})],
            "document 1 has no 'answerKey'",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path, lines, sentence):
    data = folder_of(tmp_path, {"arc_easy/test.jsonl": lines})
    with pytest.raises(MeltpointError, match=sentence):
        read_documents(local.tasks()["arc_easy"], data, "arc_easy/test.jsonl")


def test_each_document_needs_a_label(tmp_path):
    line = json.dumps({"goal": "g", "sol1": "a", "sol2": "b"})
    data = folder_of(tmp_path, {"piqa/valid.jsonl": [line] * 2, "piqa/valid-labels.lst": ["1"]})
    task = local.tasks()["piqa"]
    assert read_documents(task, data, task.documents, limit=1)[0]["label"] == 1
    with pytest.raises(MeltpointError, match="has 1 labels, fewer than documents"):
        read_documents(task, data, task.documents)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"tasks": ["pika"], "data": "d"}, "pika cannot be read from a folder.*piqa"),
        ({"tasks": ["piqa"], "data": "d", "shots": 5}, "piqa has no file of solved documents"),
        ({"tasks": ["piqa", "piqa"]}, "a name is there twice"),
        ({"tasks": ["piqa"], "without": ["piqa"]}, "piqa has no task left"),
        ({"tasks": ["corpus_order"]}, "corpus_order is made from a corpus: name one"),
        ({"tasks": ["corpus_order"], "corpus": "c", "shots": 1}, "corpus_order has no solved"),
        ({"tasks": ["piqa"], "corpus": "c"}, "only corpus_continuation and corpus_order are made"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_runs(keys, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings_of(**keys)


def entry(name: str, kind: str = "TASK", tags=(), **config) -> SimpleNamespace:
    return SimpleNamespace(name=name, kind=SimpleNamespace(name=kind), tags=tags, cfg=config)


INDEX = {
    "gsm8k": entry("gsm8k"),
    "mbpp": entry("mbpp", unsafe_code=True),
    "far": entry("far", dataset_kwargs={"trust_remote_code": True}),
    "pair": entry("pair", "GROUP", task=["some", {"task": "mbpp"}], aggregate_metric_list=[{}]),
    "some": entry("some", "TAG", tags={"gsm8k"}),
}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gsm8", "lm-eval has no task 'gsm8'.*gsm8k"),
        ("mbpp", "mbpp runs code that a model writes: set execute_code: true"),
        ("far", "far runs remote code: set execute_code: true"),
        ("pair", "mbpp runs code that a model writes"),
        ("some", "some is a group without a mean over all its documents"),
    ],
)
def test_tasks_of_lm_evals_index_that_are_refused(name, sentence):
    with pytest.raises(MeltpointError, match=f"evaluations.e.tasks: {sentence}"):
        harness._checked(INDEX, name, settings_of(tasks=[name]), "evaluations.e")


def test_a_group_of_lm_evals_index_is_its_tasks():
    settings = settings_of(tasks=["pair"], execute_code=True)
    assert harness._checked(INDEX, "pair", settings, "e") == ("gsm8k", "mbpp")
