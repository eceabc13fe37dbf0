"""The evaluation mmlu_generation: prompts from local files, groups, refusals."""

import csv
from pathlib import Path

import pytest

from meltpoint import evaluations
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import _answers
from meltpoint.evaluations._answers import Answers, Generated, write_answers_by_task
from meltpoint.evaluations._kept import read_kept
from meltpoint.evaluations._mmlu.questions import Question, read_questions
from meltpoint.evaluations._mmlu.samples import estimates, sample_of
from meltpoint.evaluations._mmlu.subjects import STEM
from meltpoint.evaluations.contract import Inputs
from meltpoint.model.base_models import link
from tests.support import tiny_study
from tests.support.measuring import COMPUTE, job_spec, measure

SHARED = Path(__file__).parents[3] / "shared/data"
MODEL = SHARED / "models/stories260K"
needs_shared = pytest.mark.skipif(not MODEL.is_dir(), reason="the shared model is not here")

ROW = ["Is it?", "yes", "no", "perhaps", "never"]


def folder_of(tmp_path: Path, subject: str, dev: list, test: list) -> Path:
    for split, rows in (("dev", dev), ("test", test)):
        path = tmp_path / f"mmlu/{split}/{subject}_{split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    return tmp_path


def settings_of(**keys):
    return evaluations.find("mmlu_generation").settings_class(**keys)


def test_a_prompt_is_five_answered_questions_and_one(tmp_path):
    dev = [[f"Shot {n}?", *ROW[1:], "ABCDA"[n]] for n in range(5)] + [[*ROW, "D"]]
    folder = folder_of(tmp_path, "college_physics", dev, [[*ROW, "B"], [*ROW, "C"]])
    (question,) = read_questions(folder / "mmlu", "college_physics", limit=1)
    hint = (
        "There is a single choice question about college physics. Answer the question by replying "
        "A, B, C or D.\nQuestion: "
    )
    choices = "\nA. yes\nB. no\nC. perhaps\nD. never\nAnswer: "
    assert question.prompt.startswith(f"{hint}Shot 0?{choices}\nA\n\n{hint}Shot 1?{choices}\nB\n\n")
    assert question.prompt.endswith(f"{hint}Shot 4?{choices}\nA\n\n{hint}Is it?{choices}")
    assert question.prompt.count("Question: ") == 6
    assert question.right == "B"


@pytest.mark.parametrize(
    ("dev", "sentence"),
    [
        ([[*ROW, "A"]] * 4, "has 4 questions: 5 are needed as shots"),
        ([[*ROW, "E"]] * 5, "row 0 is not a question, four choices and a letter"),
        ([[*ROW, "AB"]] * 5, "row 0 is not a question, four choices and a letter"),
        ([ROW] * 5, "row 0 is not a question"),
        ([], "holds no documents"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path, dev, sentence):
    folder = folder_of(tmp_path, "anatomy", dev, [[*ROW, "A"]])
    with pytest.raises(MeltpointError, match=sentence):
        read_questions(folder / "mmlu", "anatomy")


def test_stem_has_19_subjects_and_may_leave_some_out():
    assert len(set(STEM)) == 19
    settings = settings_of(mmlu_generation=["stem", "astronomy"], without=["anatomy"])
    assert len(settings.parts["stem"]) == 18
    assert len(settings.subjects) == 18
    with pytest.raises(ValueError, match="anatomy has no subject left"):
        settings_of(mmlu_generation=["anatomy"], without=["anatomy"])


def samples_of(subject: str, *texts: str, cut: bool = False, degenerate=()) -> list:
    return [
        sample_of(
            Question(subject, n, "", "B"),
            Generated([1], text, list(degenerate)),
            "first_option",
            cut,
        )
        for n, text in enumerate(texts)
    ]


def test_cut_reads_the_first_line_alone():
    text = "B\n\nQuestion: made up?\nAnswer: C"
    assert [samples_of("s", text, cut=cut)[0]["acc"] for cut in (False, True)] == [0, 1]


def test_groups_are_plain_means_over_subjects():
    samples = samples_of("one", "B", "A", "B", "B") + samples_of("two", "A", "A")
    found = estimates(samples, {"both": ("one", "two"), "one": ("one",)}, refuse_above=0.2)
    assert found["one"].value == 0.75
    assert found["two"].value == 0
    assert found["both"].value == pytest.approx(0.375)
    assert found["mean"].value == pytest.approx((0.375 + 0.75) / 2)
    assert found["both"].stderr == pytest.approx(found["one"].stderr / 2)
    assert found["both"].units.mean() == pytest.approx(0.375)


def test_a_group_is_refused_by_its_own_answers():
    samples = samples_of("one", *"BBBBBBBB") + samples_of(
        "two", "!!!!!!!!", degenerate=("constant", "non_finite")
    )
    found = estimates(samples, {"both": ("one", "two")}, refuse_above=0.2)
    assert "100% of 1 answers" in found["two"].refused
    assert found["both"].refused is None
    assert found["one"].refused is None
    assert "11% of 9 answers" in estimates(samples, {"both": ("one", "two")}, 0.1)["mean"].refused


def test_a_killed_job_goes_on_after_the_last_subject(tmp_path, monkeypatch):
    done = []

    def write(engine, inputs, prompts, most):
        if len(done) == 1:
            done.append("killed")
            raise KeyboardInterrupt
        done.append(prompts)
        return Answers([Generated([1, 2], f"to {each}", ["cut"]) for each in prompts], 1)

    monkeypatch.setattr(_answers, "write_answers", write)
    inputs = Inputs(tmp_path, COMPUTE, "evaluations.e", resume=tmp_path / "resume")
    prompts = {"one": ["a", "b"], "two": ["c"]}
    with pytest.raises(KeyboardInterrupt):
        write_answers_by_task(None, inputs, prompts, 8)
    answers = write_answers_by_task(None, inputs, prompts, 8)
    assert done == [["a", "b"], "killed", ["c"]]
    assert [each.text for each in answers.generated] == ["to a", "to b", "to c"]
    assert answers.generated[0] == Generated([1, 2], "to a", ["cut"])
    assert answers.cut_prompts == 2


def test_answers_depend_on_neither_batch_nor_padding_side(tmp_path):
    lines = tiny_study.sentences()
    questions = [[line[: 20 * n + 5], *ROW[1:], "B"] for n, line in enumerate(lines[:6])]
    folder = folder_of(tmp_path, "astronomy", [[*ROW, "A"]] * 5, questions)
    spec = job_spec("mmlu_generation", mmlu_generation=["astronomy"], max_new_tokens=12)
    found = []
    for side, batch in (("left", 1), ("left", 6), ("right", 4), ("right", "auto")):
        model = tmp_path / f"{side}-{batch}"
        tiny_study.write_model(model / "base", max_position_embeddings=1024)
        tokenizer = tiny_study.train_tokenizer(lines)
        tokenizer.padding_side = side
        tokenizer.save_pretrained(model / "base")
        link(model / "base", model / "linked", "models.tiny")
        compute = Compute(device="cpu", batch=batch)
        cell = measure(spec, model / "linked", model / "e.json", compute=compute, data=folder)
        assert cell.protocol["prompts_cut"] == 0
        found.append(read_kept(model / "e.samples.jsonl"))
    assert len({each["text"] for each in found[0]}) > 1
    assert all(each == found[0] for each in found)


@needs_shared
def test_a_checkpoint_is_measured(tmp_path):
    folder = folder_of(tmp_path, "astronomy", [[*ROW, "A"]] * 5, [[*ROW, "B"]] * 3)
    link(MODEL, tmp_path / "stories", "models.stories")
    spec = job_spec("mmlu_generation", mmlu_generation=["astronomy"], max_new_tokens=8, limit=2)
    cell = measure(spec, tmp_path / "stories", tmp_path / "e.json", data=folder)
    assert set(cell.scores) >= {"mean", "astronomy", "degenerate.empty"}
    assert cell.protocol["questions"] == cell.protocol["prompts_cut"] == 2
    samples = read_kept(tmp_path / "e.samples.jsonl")
    assert [(s["task"], s["document"]) for s in samples] == [("astronomy", 0), ("astronomy", 1)]
    assert len(samples[0]["tokens"]) <= 8
