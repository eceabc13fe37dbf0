"""The evaluation generation: prompts, scores, amateurs, MAUVE, refusals."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from meltpoint import evaluations
from meltpoint.errors import MeltpointError
from meltpoint.evaluations import _decoding, generation
from meltpoint.evaluations._generation import mauve, open_ended
from meltpoint.evaluations._generation.documents import read_documents
from meltpoint.evaluations._generation.samples import estimates
from meltpoint.evaluations._generation.writing import Writer
from meltpoint.evaluations._kept import read_kept
from meltpoint.evaluations.contract import Estimate
from meltpoint.evaluations.engines import open_engine
from meltpoint.evaluations.measurement import difference
from meltpoint.model.base_models import link
from tests.support import decoding_golden as golden
from tests.support.first_layers import first_layers
from tests.support.measuring import COMPUTE, job_spec, measure

DATA = golden.SHARED / "data/tasks"
needs_shared = pytest.mark.skipif(not golden.MODEL.is_dir(), reason="the shared model is not here")


def settings_of(**keys):
    return evaluations.find("generation").settings_class(**keys)


def prompts_file(folder: Path, *lines: dict) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "stories"
    link(golden.MODEL, folder, "models.stories")
    return folder


def run(model: Path, folder: Path, dense: Path | None = None, files: dict | None = None, **keys):
    """A cell and its samples; `folder` holds the cell, and the data unless `data` is among the keys."""
    data = Path(keys.setdefault("data", folder))
    target = folder / f"cell{len(list(folder.glob('*.samples.jsonl')))}.json"
    spec = job_spec("generation", **keys)
    inputs = {"data": data, "dense_checkpoint": golden.MODEL, **(files or {})}
    cell = measure(spec, model, target, dense, **inputs)
    return cell, read_kept(target.with_suffix(".samples.jsonl"))


@needs_shared
def test_samples_hold_the_golden_ids_of_prompts_in_tokens_and_text(model, tmp_path):
    first, second = golden.prompts()[:2]
    prompts_file(tmp_path, {"tokens": first["prompt_ids"]}, {"prompt": second["prompt"]})
    strategies = ["greedy", "fsd_d,alpha=0.6,k=5,n=3"]
    _, samples = run(
        model,
        tmp_path,
        generation="prompts",
        prompts="prompts.jsonl",
        strategies=strategies,
        max_new_tokens=40,
    )
    expected = [
        (strategy, place, 0, prompt["generated_ids"][case])
        for strategy, case in zip(strategies, ["greedy", "fsd-d (n-gram, n 3) alpha 0.6 k 5"])  # noqa: B905
        for place, prompt in enumerate((first, second))
    ]
    keys = ("strategy", "prompt", "seed", "tokens")
    assert [tuple(sample[key] for key in keys) for sample in samples] == expected
    assert samples[0]["text"] == first["greedy_text"]


@needs_shared
def test_an_amateur_is_another_checkpoint_of_the_study(model, tmp_path, monkeypatch):
    prompt = golden.prompts()[0]
    prompts_file(tmp_path, {"tokens": prompt["prompt_ids"]})
    first_layers(golden.MODEL, 4, tmp_path / "first")
    link(tmp_path / "first", tmp_path / "amateur", "models.first")
    case = "contrastive decoding alpha 0.1 beta 0.5, amateur = first 4 of 5 layers"
    keys = {
        "generation": "prompts",
        "prompts": "prompts.jsonl",
        "strategies": [golden.spelled(case)],
        "max_new_tokens": 40,
    }
    files = {"checkpoints": {"first": tmp_path / "amateur"}}
    _, samples = run(model, tmp_path, files=files, **keys)
    assert samples[0]["tokens"] == prompt["generated_ids"][case]
    other = golden.SHARED / "data/models/tinystories-656K"
    link(other, tmp_path / "other", "models.other")
    with pytest.raises(MeltpointError, match="the amateur first has another vocabulary"):
        run(model, tmp_path, files={"checkpoints": {"first": tmp_path / "other"}}, **keys)
    # A tokenizer of the same words, and a head with rows for more of them.
    shutil.copytree(tmp_path / "amateur", tmp_path / "padded")
    config = tmp_path / "padded/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 576}))
    padded = {"checkpoints": {"first": tmp_path / "padded"}}
    monkeypatch.setattr(Writer, "write", lambda *_: pytest.fail("it writes before it checks"))
    with pytest.raises(MeltpointError, match=r"another vocabulary .*\(576 tokens against 512\)"):
        run(model, tmp_path, files=padded, **keys)


@needs_shared
def test_coherence_is_the_mean_log_probability_under_the_dense_model(model, tmp_path):
    lines = [{"tokens": prompt["prompt_ids"]} for prompt in golden.prompts()]
    prompts_file(tmp_path, *lines)
    keys = {"generation": "prompts", "strategies": ["greedy", "sample"], "max_new_tokens": 16}
    cell, samples = run(model, tmp_path, prompts="prompts.jsonl", seeds=[3, 5], **keys)
    means = []
    with open_engine(golden.MODEL, COMPUTE) as engine:
        for line, sample in zip(lines, samples[:4], strict=True):
            nll = engine.nll(np.array([[*line["tokens"], *sample["tokens"]]]))[0]
            means.append(-nll[len(line["tokens"]) - 1 :].mean())
    score = cell.scores["greedy.coherence"]
    assert score.value == pytest.approx(np.mean(means), rel=1e-4)
    assert score.stderr == pytest.approx(np.std(means, ddof=1) / 2, rel=1e-3)
    assert {sample["seed"] for sample in samples if sample["strategy"] == "sample"} == {3, 5}
    assert "sample.spread" in cell.scores
    assert "greedy.spread" not in cell.scores


@needs_shared
def test_gsm8k_and_mbpp_run_on_the_published_files(model, tmp_path):
    keys = {"data": DATA, "strategies": ["greedy"], "limit": 2, "max_new_tokens": 12}
    cell, samples = run(model, tmp_path, generation="gsm8k", **keys)
    assert cell.scores["greedy.exact_match"].value == 0
    assert cell.protocol["prompts_cut"] == 2
    assert "cut from the left" in cell.provenance["warnings"][0]
    cell, samples = run(model, tmp_path, generation="mbpp", execute_code=True, **keys)
    assert cell.scores["greedy.pass_at_1"].value == 0
    assert [sample["prompt"] for sample in samples] == [10, 11]


@needs_shared
def test_degenerate_texts_refuse_every_score_but_the_speed(model, tmp_path, monkeypatch):
    from meltpoint.evaluations.engines._model_decoding import ModelDecoding

    read = ModelDecoding._read

    def broken(self, ids):
        read(self, ids)
        self.logits = torch.full_like(self.logits, float("nan"))

    monkeypatch.setattr(ModelDecoding, "_read", broken)
    prompts_file(tmp_path, {"prompt": "Once"}, {"prompt": "Tom"})
    cell, samples = run(
        model,
        tmp_path,
        generation="prompts",
        prompts="prompts.jsonl",
        strategies=["greedy"],
        max_new_tokens=8,
    )
    for name in ("diversity", "rep_4", "coherence"):
        assert cell.scores[f"greedy.{name}"].status == "refused"
    assert "100% of 2 answers are degenerate" in cell.scores["greedy.diversity"].reason
    assert samples[0]["tokens"] == []


@needs_shared
def test_a_strategy_that_does_not_apply_leaves_the_others_their_scores(model, tmp_path):
    prompts_file(tmp_path, {"prompt": "Once upon a time"}, {"prompt": "Tom and Lily went"})
    keys = {"generation": "prompts", "prompts": "prompts.jsonl", "max_new_tokens": 16}
    strategies = ["dola,mature_layer=32", "greedy"]
    cell, samples = run(model, tmp_path, strategies=strategies, **keys)
    for name, score in cell.scores.items():
        assert score.status == ("refused" if name.startswith("dola") else "ok"), name
    assert "the model has 5 blocks" in cell.scores["dola,mature_layer=32.tokens_per_second"].reason
    assert [sample["tokens"] for sample in samples[:2]] == [[], []]


@needs_shared
def test_mauve_compares_the_dense_models_states_of_the_last_of_128_tokens():
    random = np.random.default_rng(0)
    texts = [random.integers(3, 512, 130).tolist() for _ in range(100)]
    plain = AutoModelForCausalLM.from_pretrained(golden.MODEL, dtype=torch.float32)
    with torch.no_grad():
        states = plain.model(torch.tensor(texts)[:, :128]).last_hidden_state[:, -1].numpy()
    with open_engine(golden.MODEL, COMPUTE) as dense:
        np.testing.assert_allclose(mauve.features(dense, texts), states, rtol=1e-3, atol=1e-4)
        assert mauve.score(dense, texts, {0: texts}).value == pytest.approx(1, abs=1e-6)


@needs_shared
def test_mauve_is_a_score_of_prompts_with_references(model, tmp_path):
    keys = {
        "generation": "prompts",
        "data": DATA,
        "prompts": "decoding_prompts/wikinews_with_references.jsonl",
        "strategies": ["greedy"],
        "mauve": True,
    }
    cell, _ = run(model, tmp_path, limit=130, max_new_tokens=100, **keys)
    assert 0 < cell.scores["greedy.mauve"].value < 1
    assert "dense model" in cell.protocol["mauve_by"]["featurizer"]
    cell, _ = run(model, tmp_path, limit=100, max_new_tokens=2, **keys)
    assert re.search("pairs of texts have 128 tokens", cell.scores["greedy.mauve"].reason)
    few = prompts_file(tmp_path, *[{"prompt": "a", "reference": "a b"}] * 4)
    with pytest.raises(MeltpointError, match="4 texts are too few for MAUVE, which needs 100"):
        run(model, tmp_path, **{**keys, "data": few.parent, "prompts": few.name})
    keys["prompts"] = "decoding_prompts/prompts.jsonl"
    with pytest.raises(MeltpointError, match="document 0 has no 'reference'"):
        run(model, tmp_path, **keys)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"generation": "mbpp"}, "execute_code: mbpp runs programs that the model wrote"),
        ({"generation": "gsm8k", "prompts": "x.jsonl"}, "gsm8k has prompts of its own"),
        ({"generation": "gsm8k", "mauve": True}, "gsm8k has no references"),
        ({"mauve": True, "limit": 99}, "limit: 99 texts are too few for MAUVE, which needs 100"),
        ({"strategies": ["gready"]}, "there is no strategy 'gready'"),
        ({"strategies": ["beam,beams=0"]}, "beams: must be "),
        ({"strategies": ["greedy", "greedy"]}, "a strategy is there twice"),
        ({"seeds": [0, -1]}, "-1 is no seed"),
        ({"seeds": [0, 0]}, "a seed is there twice"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(keys, sentence):
    with pytest.raises(ValueError, match=sentence):
        settings_of(**{"generation": "prompts", "strategies": ["greedy"], "data": "d", **keys})


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "holds no documents"),
        ([{"text": "x"}], "document 0 has no prompt"),
        ([{"prompt": ""}], "document 0 has no prompt"),
        ([{"tokens": [1, "x"]}], "document 0 has no prompt"),
    ],
)
def test_a_wrong_file_of_prompts_is_refused_in_a_sentence(tmp_path, lines, sentence):
    file = prompts_file(tmp_path, *lines)
    with pytest.raises(MeltpointError, match=sentence):
        read_documents(file, "prompts", None)


@pytest.mark.parametrize(
    ("task", "line", "sentence"),
    [
        ("gsm8k", {"question": "?"}, "document 0 has no 'answer'"),
        ("mbpp", {"task_id": 1, "text": "t"}, "document 0 has no 'code'"),
        (
            "mbpp",
            {"task_id": 2, "text": "t", "code": "c", "test_list": []},
            "has no problem 3, which is one of the shots",
        ),
    ],
)
def test_a_wrong_file_of_a_task_is_refused_in_a_sentence(tmp_path, task, line, sentence):
    with pytest.raises(MeltpointError, match=sentence):
        read_documents(prompts_file(tmp_path, line), task, None)


def test_a_file_of_prompts_is_relative_to_the_folder_or_the_study(tmp_path):
    keys = {"generation": "prompts", "strategies": ["greedy"]}
    found = settings_of(prompts=tmp_path / "a.jsonl", **keys)
    assert (found.data, found.file) == (tmp_path, Path("a.jsonl"))
    found = settings_of(prompts="b/a.jsonl", **keys)
    assert (found.data, found.file) == (Path("."), Path("b/a.jsonl"))
    found = settings_of(prompts="b/a.jsonl", data="d", **keys)
    assert (found.data, found.file) == (Path("d"), Path("b/a.jsonl"))


def test_repetition_and_diversity_are_pooled_and_leave_the_last_n_gram_out():
    texts = ["a b a b a b", "c d e f g"]
    # 2-grams but the last: ab ba ab ba; cd de ef. 3-grams: aba bab aba; cde def.
    assert open_ended.repetition([[text] for text in texts], 2).value == pytest.approx(1 - 5 / 7)
    assert open_ended.repetition([texts], 4).value == 0
    both = open_ended.diversity([[text] for text in texts])
    assert both.value == pytest.approx(5 / 7 * 4 / 5 * 1)
    assert both.units.mean() == pytest.approx(both.value)
    assert "rep-4 needs" in open_ended.repetition([["a b c d"]], 4).refused


def test_the_error_of_diversity_is_that_of_the_bootstrap():
    random = np.random.default_rng(0)
    texts = [[" ".join(random.choice(list("abcdefgh"), 40))] for _ in range(60)]
    samples = [[texts[i] for i in random.integers(0, 60, 60)] for _ in range(300)]
    spread = np.std([open_ended.diversity(each).value for each in samples])
    assert open_ended.diversity(texts).stderr == pytest.approx(spread, rel=0.2)


def test_the_docs_name_each_strategy_with_its_settings():
    for name, module in _decoding.registry().items():
        (spelled,) = re.findall(rf"`({name}(?:,[^`]*)?)`", generation.__doc__)[-1:]
        keys = {pair.partition("=")[0] for pair in spelled.split(",")[1:]}
        assert keys == set(module.Settings.model_fields)


def test_a_text_without_a_token_leaves_the_others_paired_with_their_own_prompts():
    settings = settings_of(generation="prompts", prompts="prompts.jsonl", strategies=["greedy"])
    rng = np.random.default_rng(0)
    hard = rng.normal(-3, 1, 200)
    sample = {"strategy": "greedy", "seed": 0, "text": "a b c d e f", "degenerate": []}

    def score(values: list) -> Estimate:
        samples = [{**sample, "prompt": n, "coherence": v} for n, v in enumerate(values)]
        return estimates(samples, settings, ["coherence"])["greedy.coherence"]

    base = score(list(hard))
    changed = [None if n % 20 == 0 else value for n, value in enumerate(hard - 0.5)]
    found = score(changed)
    known = [value for value in changed if value is not None]
    assert found.value == pytest.approx(np.mean(known))
    assert found.units.mean() == pytest.approx(found.value)
    assert found.stderr == pytest.approx(np.std(known, ddof=1) / np.sqrt(190), rel=0.01)
    # Of the same prompts: far smaller than the error of either mean, 0.07.
    assert difference(found, base).stderr < 0.02
