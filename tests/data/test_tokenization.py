"""Tokenizers that do not load are refused in a sentence that says what to do."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from meltpoint.data import tokenization
from meltpoint.data.tokenization import tokenizer_of
from meltpoint.errors import MeltpointError
from tests.support import tiny_study

CONFIG = {"model_type": "llama", "vocab_size": 128, "hidden_size": 32, "num_attention_heads": 2}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def refusal(folder) -> str:
    with pytest.raises(MeltpointError) as caught:
        tokenizer_of(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"model": {"type": "BPE3"}}, {"pre_tokenizer": {"type": "Unheard"}}, {"version": "9"}],
)
def test_a_newer_tokenizer_json_is_a_sentence(folder, change):
    tiny_study.train_tokenizer(tiny_study.sentences()).save_pretrained(folder)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    message = refusal(folder)
    assert message.startswith(f"{folder}: its tokenizer cannot be loaded: ")
    assert "of a newer version than tokenizers 0." in message


def save_sentencepiece(folder) -> None:
    trainer = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    trainer.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny_study.sentences()), model_prefix=str(folder / "tokenizer"),
        vocab_size=60, model_type="bpe", minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')


def test_a_tokenizer_model_alone_is_read(folder):
    save_sentencepiece(folder)
    text = tiny_study.sentences()[0]
    tokenizer = tokenizer_of(folder)
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == text


@pytest.mark.parametrize("missing", ["sentencepiece", "protobuf"])
def test_the_package_that_is_missing_is_named(folder, monkeypatch, missing):
    save_sentencepiece(folder)
    known = tokenization.version

    def version(name):
        if name == missing:
            raise PackageNotFoundError(name)
        return known(name)

    module = "sentencepiece" if missing == "sentencepiece" else "google.protobuf"
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(tokenization, "version", version)
    monkeypatch.setattr(tokenization.AutoTokenizer, "from_pretrained", fail)
    assert f"to read its tokenizer.model, pip install {missing} (or use --use-conda)" in refusal(
        folder
    )


def fail(*_, **__):
    """As transformers does without sentencepiece."""
    raise ValueError("`tiktoken` is required to read a `tiktoken` file.")


def test_a_vocabulary_of_tiktoken_needs_tiktoken(folder, monkeypatch):
    (folder / "tokenizer.model").write_text("IQ== 0\nIg== 1\n")
    monkeypatch.setattr(tokenization.AutoTokenizer, "from_pretrained", fail)
    monkeypatch.setattr(tokenization, "_version", lambda _: None)
    assert "pip install tiktoken" in refusal(folder)


def test_a_folder_without_a_tokenizer_says_what_it_needs(folder):
    assert "the folder needs one of tokenizer.json, tokenizer.model" in refusal(folder)
