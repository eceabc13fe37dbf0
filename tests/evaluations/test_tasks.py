"""The evaluation tasks: lm-eval's scores on the golden model, local files, groups, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from meltpoint.analysis.samples import samples_of
from meltpoint.data.tokenization import tokenizer_of
from meltpoint.errors import MeltpointError
from meltpoint.evaluations._kept import read_kept, write_kept
from meltpoint.evaluations._tasks import run
from meltpoint.evaluations._tasks.harness import Named
from meltpoint.evaluations._tasks.model import EngineModel
from meltpoint.evaluations._tasks.samples import estimates, sample_of
from meltpoint.evaluations.engines import open_engine
from meltpoint.model.base_models import link
from tests.support.measuring import COMPUTE, job_spec, measure

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data/tasks"
MODEL = SHARED / "data/models/stories260K"
GOLDEN = SHARED / "golden/tasks/zeroshot_golden_dev.json"
needs_shared = pytest.mark.skipif(not GOLDEN.is_file(), reason="the shared goldens are not here")

TASKS = ("boolq", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


@pytest.fixture(scope="module")
def golden() -> dict:
    return json.loads(GOLDEN.read_text())["tasks"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    link(MODEL, folder / "stories", "models.stories")
    spec = job_spec("tasks", tasks=list(TASKS), limit=150)
    cell = measure(spec, folder / "stories", folder / "e.json", data=DATA)
    return cell, read_kept(folder / "e.samples.jsonl")


@needs_shared
@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_lm_eval(measured, golden, task):
    cell, samples = measured
    expected = golden[task]["results"]
    for metric in ("acc", "acc_norm"):
        assert (f"{task}.{metric}" in cell.scores) == (metric in expected)
        if metric in expected:
            score = cell.scores[f"{task}.{metric}"]
            assert score.value == pytest.approx(expected[metric], abs=1e-6)
            assert score.stderr == pytest.approx(expected[f"{metric}_stderr"], abs=1e-6)
    assert cell.protocol["requests_cut"].get(task, 0) == golden[task]["truncated_pairs"]
    found = [each["loglikelihoods"] for each in samples if each["task"] == task]
    assert len(found) == 150
    for ours, theirs in zip(found, golden[task]["all_loglikelihoods"], strict=True):
        # At -1,200 the next number in float32 is 1.2e-4 away.
        assert ours == pytest.approx(theirs, rel=3e-7, abs=1e-4)


@needs_shared
def test_the_mean_is_over_tasks_and_samples_have_the_fixed_keys(measured):
    cell, samples = measured
    main = [cell.scores[task].value for task in TASKS]
    assert cell.scores["piqa"].value == cell.scores["piqa.acc_norm"].value
    assert cell.scores["boolq"].value == cell.scores["boolq.acc"].value
    assert cell.scores["mean"].value == pytest.approx(sum(main) / 7)
    errors = [cell.scores[task].stderr for task in TASKS]
    assert cell.scores["mean"].stderr == pytest.approx(np.linalg.norm(errors) / 7)
    assert list(samples[0]) == ["task", "document", "loglikelihoods", "acc"]
    assert [each["document"] for each in samples[:3]] == [0, 1, 2]
    assert "no titles" in cell.protocol["prompts_differ"]["boolq"]
    assert cell.provenance["warnings"] == [
        "69 of 3,298 requests are longer than the model's context of 512 tokens and were cut from "
        "the left"
    ]


@needs_shared
def test_text_is_written_as_by_lm_evals_own_class():
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    tokenizer = tokenizer_of(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    contexts = ["Once upon a time", "The cat sat. " * 200, "Lily and Tom"]
    asked = [
        Instance("generate_until", {}, (text, {"until": ["."], "max_gen_toks": 24}), index)
        for index, text in enumerate(contexts)
    ]
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1).generate_until(asked)
    with open_engine(MODEL, COMPUTE) as engine:
        ours = EngineModel(engine, tokenizer)
        assert ours.generate_until(asked) == theirs
        assert ours.cut == 1


class Narrow:
    """An engine that reads four tokens at most."""

    context_length = 4


def test_a_request_loses_its_beginning_and_never_its_continuation():
    model = EngineModel(Narrow(), None)
    assert model._fitting([1, 2, 3], [4, 5]) == [([1, 2, 3], [4, 5])]
    assert model.cut == 0
    assert model._fitting([1, 2, 3, 4], [5, 6]) == [([2, 3, 4], [5, 6])]
    assert model._fitting([1, 2], [3, 4, 5, 6]) == [([2], [3, 4, 5, 6])]
    assert model.cut == 2


@needs_shared
def test_a_continuation_longer_than_the_context_is_scored_in_parts():
    model = EngineModel(Narrow(), None)
    assert model._fitting([1, 2], [3, 4, 5, 6, 7, 8]) == [([2], [3, 4, 5, 6]), ([4, 5, 6], [7, 8])]
    assert model.cut == 1
    with open_engine(MODEL, COMPUTE) as engine:
        model = EngineModel(engine, tokenizer_of(MODEL))
        tokens = [5 + n % 200 for n in range(1, 1200)]
        ((total, _),) = model._loglikelihood_tokens([(("", ""), tokens[:3], tokens[3:])])
        parts = [(tokens[2:3], tokens[3:515]), (tokens[514:515], tokens[515:1027])]
        parts.append((tokens[1199 - 513 : 1027], tokens[1027:]))
        assert total == pytest.approx(sum(score for score, _ in engine.loglikelihood(parts)))
        assert model.cut == 1


def test_a_group_has_the_mean_and_error_of_lm_eval():
    from lm_eval.api.metrics import aggregate_subtask_metrics, mean_stderr, pooled_sample_stderr

    right = {"one": [1, 0, 1, 1], "two": [0, 0, 1, 0, 0, 1, 1]}
    samples = [
        {"task": task, "document": n, "acc": float(acc), "groups": ["both"]}
        for task, each in right.items()
        for n, acc in enumerate(each)
    ]
    found = estimates(samples, ["both", "one"], refuse_above=0.2)
    sizes, values = [4, 7], list(right.values())
    means = [sum(each) / len(each) for each in values]
    errors = [mean_stderr(each) for each in values]
    assert found["both"].value == pytest.approx(aggregate_subtask_metrics(means, sizes))
    assert found["both"].stderr == pytest.approx(pooled_sample_stderr(errors, sizes))
    assert found["one.acc"].stderr == pytest.approx(errors[0])


def logged_of(document: int, *sums: float) -> dict:
    return {"doc_id": document, "acc": 1.0, "resps": [[(each, False)] for each in sums]}


def test_scores_of_likelihoods_that_are_not_finite_are_refused():
    sums = [(-1.0, -2.0), (float("nan"), float("nan")), (-1.0, -3.0)]
    samples = [sample_of("t", logged_of(n, *each), ["acc"], ()) for n, each in enumerate(sums)]
    found = estimates(samples, ["t"], refuse_above=0.2)
    assert "33% of 3 documents" in found["t"].refused
    assert found["t.acc"].refused == found["t"].refused
    assert found["mean"].refused.startswith("1 of its 1 scores is refused; t: 33%")
    assert found["degenerate.non_finite"].value == pytest.approx(1 / 3)
    assert estimates(samples, ["t"], refuse_above=0.5)["t"].value == 1


def test_a_metric_that_is_no_mean_is_refused():
    with pytest.raises(MeltpointError, match="t has no metric that is a mean"):
        sample_of("t", logged_of(0, -1.0), ["f1"], ())


def test_a_killed_job_goes_on_after_the_last_task(tmp_path, monkeypatch):
    done = []

    def run_one(named, *_):
        if named.name == "two" and len(done) == 1:
            raise KeyboardInterrupt
        done.append(named.name)
        return run.Done(named.name, [{"task": named.name, "acc": 1.0}], 2, 1)

    monkeypatch.setattr(run, "_run", run_one)
    tasks = [Named(name, None, ()) for name in ("one", "two")]
    with pytest.raises(KeyboardInterrupt):
        list(run.run(tasks, None, None, False, tmp_path / "resume"))
    done.append("again")
    results = list(run.run(tasks, None, None, False, tmp_path / "resume"))
    assert done == ["one", "again", "two"]
    assert [each.task for each in results] == ["one", "two"]
    assert results[0] == run.Done("one", [{"task": "one", "acc": 1.0}], 2, 1)


@needs_shared
def test_a_checkpoint_is_paired_with_the_dense_model_by_document(tmp_path):
    for name in ("dense", "other"):
        link(MODEL, tmp_path / name, f"models.{name}")
    spec = job_spec("tasks", tasks=["winogrande"], limit=12)
    measure(spec, tmp_path / "dense", tmp_path / "d.json", data=DATA)
    samples = read_kept(tmp_path / "d.samples.jsonl")
    for each in samples[:3]:
        each["acc"] = 1 - each["acc"]
    write_kept(tmp_path / "d.samples.jsonl", samples)
    cell = measure(spec, tmp_path / "other", tmp_path / "o.json", tmp_path / "d.json", data=DATA)
    changed = np.zeros(12)
    changed[:3] = [1 - 2 * each["acc"] for each in samples[:3]]
    difference = cell.scores["winogrande"].difference
    assert difference.value == pytest.approx(changed.mean())
    assert difference.stderr == pytest.approx(changed.std(ddof=1) / np.sqrt(12))
    assert set(samples_of(tmp_path / "o.json", cell)) >= {"mean", "winogrande", "winogrande.acc"}


@needs_shared
def test_a_gguf_file_is_measured_by_llama_cpp(tmp_path, measured):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from meltpoint.llamacpp.convert import write_gguf

    folder = tmp_path / "gguf"
    link(MODEL, folder, "models.stories")
    (folder / "model.safetensors").unlink()
    write_gguf(MODEL, folder / "model.gguf")
    spec = job_spec("tasks", tasks=["arc_easy"], limit=10)
    cell = measure(spec, folder, tmp_path / "e.json", data=DATA)
    assert cell.protocol["engine"] == "llama.cpp"
    dense = [each for each in measured[1] if each["task"] == "arc_easy"]
    for ours, theirs in zip(read_kept(tmp_path / "e.samples.jsonl"), dense, strict=False):
        assert ours["loglikelihoods"] == pytest.approx(theirs["loglikelihoods"], abs=0.05)
