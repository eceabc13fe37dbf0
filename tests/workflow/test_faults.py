"""Broken files and texts that do not fit: one sentence, and nothing half-written."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from meltpoint import evaluations
from meltpoint.errors import MeltpointError
from tests.support import tiny_study
from tests.support.bench import Bench
from tests.support.fingerprint import fingerprint
from tests.support.project import named

WEIGHT = "model.layers.1.mlp.up_proj.weight"

# What perplexity keeps beside a cell.
KEPT = evaluations.find("perplexity").keeps


@pytest.fixture
def bench(untouched, tmp_path, monkeypatch) -> Bench:
    """The tiny study in a folder of its own, which is the working directory."""
    untouched.copy(tmp_path / "bench")
    monkeypatch.chdir(tmp_path / "bench")
    return Bench(tmp_path / "bench")


@pytest.fixture
def linked(bench) -> Bench:
    bench.link()
    return bench


def assert_fails(bench: Bench, step, *arguments: str) -> str:
    """What a step says when it fails: one line. It must leave the results as they are."""
    before = bench.results()
    with pytest.raises(MeltpointError) as caught:
        step(*arguments)
    assert "\n" not in str(caught.value)
    assert bench.results() == before
    return str(caught.value)


def spoil(file: Path, value: float) -> None:
    """Puts a value into one of a model's weights."""
    tensors = load_file(file)
    tensors[WEIGHT][3, 5] = value
    save_file(tensors, file, metadata={"format": "pt"})


# --- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_truncated_safetensors_are_not_linked(bench, size):
    os.truncate(bench.source("model/model.safetensors"), size)
    message = assert_fails(bench, bench.link)
    assert message.startswith("models.tiny: ")
    assert "studies/model/model.safetensors is truncated" in message
    assert "fetch or make it again" in message


def test_truncated_model_does_not_pass_the_dry_run(bench):
    os.truncate(bench.source("model/model.safetensors"), 5000)
    with pytest.raises(MeltpointError, match=r"^tiny.yaml: models.tiny.path: \S+ is truncated"):
        _ = bench.plan


@pytest.mark.parametrize("step", ["compress", "perplexity", "size"])
def test_truncated_shard_is_not_read(linked, step):
    linked.compress("magnitude@0.5")
    linked.tokens("fixed")
    linked.evaluate("dense", "fixed-32")
    shard = linked.checkpoint("magnitude@0.5") / "model-00002-of-00003.safetensors"
    os.truncate(shard, shard.stat().st_size - 8)
    message = {
        "compress": lambda: assert_fails(linked, linked.compress, "magnitude@0.5+magnitude@0.7"),
        "perplexity": lambda: assert_fails(linked, linked.evaluate, "magnitude@0.5", "fixed-32"),
        "size": lambda: assert_fails(linked, linked.evaluate, "magnitude@0.5", "bits"),
    }[step]()
    assert "model-00002-of-00003.safetensors" in message
    assert "fetch or make it again" in message


@pytest.mark.parametrize("worst", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_linked(bench, worst):
    spoil(bench.source("model/model.safetensors"), worst)
    message = assert_fails(bench, bench.link)
    assert message.startswith("models.tiny: ")
    assert f"studies/model/model.safetensors: {WEIGHT} holds NaN or infinite weights" in message


def test_weights_that_do_not_fit_the_config_are_not_linked(bench):
    file = bench.source("model/config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "intermediate_size": 48}))
    assert "they do not belong together" in assert_fails(bench, bench.link)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_broken_json_is_not_linked(bench, name):
    if "index" in name:
        # Beside model.safetensors no index is read.
        model = bench.source("model")
        (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    bench.source(f"model/{name}").write_text('{"model_type": "llama",')
    message = assert_fails(bench, bench.link)
    assert message.startswith("models.tiny: ")
    assert name in message


def test_pickle_is_not_linked(bench):
    model = bench.source("model")
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    message = assert_fails(bench, bench.link)
    assert message.startswith("models.tiny: ")
    assert "pickled weights (pytorch_model.bin), which can run code" in message
    assert "save_pretrained(safe_serialization=True)" in message


def test_checkpoint_without_its_description_is_not_read(linked):
    linked.compress("magnitude@0.5")
    (linked.checkpoint("magnitude@0.5") / "meltpoint.json").unlink()
    message = assert_fails(linked, linked.compress, "magnitude@0.5+magnitude@0.7")
    assert "meltpoint.json is missing or broken: delete the folder and run again" in message


# --- texts and tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("prose.txt", ""),
        ("prose.txt", " \n\n"),
        ("notes.jsonl", ""),
        ("notes.jsonl", '{"text": ""}'),
    ],
)
def test_empty_corpus_is_refused(linked, name, content):
    linked.source(name).write_text(content)
    step = linked.tokens if name == "prose.txt" else linked.documents
    message = assert_fails(linked, step, name.split(".")[0])
    assert f"studies/{name}: the corpus is empty" in message


def test_text_that_is_no_token_is_refused(linked):
    """The tokenizer knows the letters a to j, and drops the others."""
    linked.source("prose.txt").write_text("XYZ" * 100)
    message = assert_fails(linked, linked.tokens, "prose")
    assert "studies/prose.txt" in message
    assert "no token" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("prose.txt", b"\xff", "cannot be read as UTF-8 text"),
        ("notes.jsonl", b"{", "no valid .jsonl"),
        ("notes.jsonl", b'{"content": "a"}', "text under 'text': set the corpus's `field`"),
        ("notes.jsonl", b"5", "text under 'text': set the corpus's `field`"),
        ("notes.jsonl", b'{"text": 5}', "text under 'text': set the corpus's `field`"),
        ("tokens.npy", b"\x93NUMPY", "no readable .npy file"),
    ],
)
def test_corpus_that_cannot_be_read_is_refused(linked, name, content, said):
    linked.source(name).write_bytes(content)
    message = assert_fails(linked, linked.tokens, name.replace("tokens", "fixed").split(".")[0])
    assert f"studies/{name}: " in message
    assert said in message


def test_line_separators_in_a_text_do_not_end_it(linked):
    """JSON may hold them raw; Python's splitlines would cut there."""
    text = '{"text": "abc\u2028de\u0085f"}\n'
    linked.source("notes.jsonl").write_text(text, encoding="utf-8")
    linked.documents("notes")


@pytest.mark.parametrize(
    "array", [np.array([0.5, 1.5]), np.array([["a"]]), np.array([], int), np.array([{}])]
)
def test_tokens_that_are_no_integers_are_refused(linked, array):
    np.save(linked.source("tokens.npy"), array)
    assert "studies/tokens.npy: " in assert_fails(linked, linked.tokens, "fixed")


@pytest.mark.parametrize("token", [tiny_study.VOCABULARY, -1])
def test_tokens_beyond_the_vocabulary_are_refused(linked, token):
    np.save(linked.source("tokens.npy"), np.array([1, 2, token]))
    message = assert_fails(linked, linked.tokens, "fixed")
    assert f"studies/tokens.npy holds token {token}" in message
    assert f"the model's vocabulary has {tiny_study.VOCABULARY}" in message


@pytest.mark.parametrize("step", ["tokens", "documents"])
def test_tokenizer_larger_than_the_model_is_refused(bench, step):
    larger = tiny_study.train_tokenizer(tiny_study.sentences(), vocabulary=300)
    larger.save_pretrained(bench.source("model"))
    bench.link()
    message = assert_fails(bench, getattr(bench, step), "notes")
    assert "studies/notes.jsonl holds token" in message
    assert "another tokenizer's" in message


def test_windows_beyond_the_vocabulary_are_refused(linked):
    np.save(linked.source("windows.npy"), np.full((4, 16), tiny_study.VOCABULARY))
    message = assert_fails(linked, linked.compress, "wanda@0.5,calibration=given")
    assert message.startswith("calibrations.given: ")
    assert f"studies/windows.npy holds token {tiny_study.VOCABULARY}" in message


def test_corpus_shorter_than_two_windows_cannot_be_evaluated(linked):
    np.save(linked.source("tokens.npy"), np.arange(63))
    linked.tokens("fixed")
    message = assert_fails(linked, linked.evaluate, "dense", "fixed-32")
    assert message.startswith("evaluations.fixed-32: ")
    assert "63 tokens: two windows of 32 are needed" in message
    assert "smaller window" in message


def test_corpus_shorter_than_a_window_cannot_calibrate(linked):
    linked.study["calibrations"]["default"]["length"] = 100_000
    linked.tokens("prose")
    message = assert_fails(linked, linked.compress, "wanda@0.5")
    assert message.startswith("calibrations.default: ")
    assert "a window of 100000 needs more" in message
    assert "shorter length" in message


def test_documents_shorter_than_a_window_cannot_calibrate(linked):
    tiny_study.write_notes(linked.source("notes.jsonl"), ["abc", "de", "fgh"])
    linked.documents("notes")
    message = assert_fails(linked, linked.compress, "wanda@0.5,calibration=notes")
    assert message.startswith("calibrations.notes: ")
    assert "no document of the calibration corpus has more than 16 tokens" in message
    assert "shorter length, or sampling: stream" in message


# --- at the terminal ----------------------------------------------------------------------------


def test_sentences_reach_the_terminal_and_the_logs(project, everything):
    """What has failed is lost; what was made from it before does not pass for current."""
    np.save(project.folder / "studies/tokens.npy", np.arange(63))
    spoil(project.folder / "studies/other/model.safetensors", float("nan"))
    kept = fingerprint(project.results)
    result = project.snakemake("--cores", "2")
    assert result.code != 0
    assert "Error: evaluations.fixed-32: the corpus has 63 tokens" in result.output
    assert "Error: models.other: studies/other/model.safetensors: " in result.output
    assert "Traceback" not in result.output
    logs = (project.results / "logs").rglob("*.log")
    assert sum("models.other: studies/other/" in log.read_text() for log in logs) == 1

    unfinished = named(everything, "models/other", "cells/other", "fixed-32.json")
    assert project.stale() == unfinished
    assert not (project.folder / "results/models/other").exists()
    assert not list((project.folder / "results").rglob("*.partial*"))
    after = fingerprint(project.results)
    lost = {path for path in kept if path not in after}
    # The dense model's hidden states are no output: they may stay.
    assert lost == named(set(kept), *(f"dense/fixed-32.{end}" for end in ("json", *KEPT)))
