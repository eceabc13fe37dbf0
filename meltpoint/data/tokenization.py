"""Writes files of a corpus's tokens by a model's tokenizer, and loads tokenizers."""

import logging
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from meltpoint.data.corpora import (
    check_vocabulary,
    documents,
    read_tokens,
    separate,
    stream,
    write_array,
)
from meltpoint.data.instructions import read_pairs
from meltpoint.errors import MeltpointError, reason_of
from meltpoint.text import one_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Files of tokenizers: a folder with a tokenizer has at least one of them.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


def write_stream(
    corpus: dict, file: Path | None, model: Path, target: Path, ends_target: Path
) -> None:
    """Writes a corpus as one stream of tokens, int32 [tokens], and the byte at which each token ends.

    The ends, int64 [tokens], are empty for a corpus of tokens, whose text is not known. Raises
    MeltpointError for a corpus that cannot be read or is empty, for a model without a tokenizer, and
    for a tokenizer whose vocabulary is larger than the model's.
    """
    # A corpus of tokens is the only one without the key `join`.
    if "join" not in corpus:
        tokens, ends = read_tokens(file, dimensions=1), np.empty(0, np.int64)
    else:
        tokens, ends = stream(documents(corpus, file), corpus["join"], tokenizer_of(model))
    check_vocabulary(tokens, vocabulary_of(model), str(file or target.stem))
    write_array(ends_target, ends)
    write_array(target, tokens)


def write_documents(
    corpus: dict,
    file: Path | None,
    model: Path,
    target: Path,
    offsets_target: Path,
    characters_target: Path,
) -> None:
    """Writes a corpus's documents tokenised one by one, with their offsets and characters.

    Tokens are int32 [tokens], offsets int64 [documents + 1], numbers of characters int64 [documents].
    Raises MeltpointError for a corpus or a tokenizer that `write_stream` refuses.
    """
    texts = documents(corpus, file)
    tokens, offsets = separate(texts, tokenizer_of(model))
    check_vocabulary(tokens, vocabulary_of(model), str(file or target.stem))
    write_array(characters_target, np.array([len(text) for text in texts], dtype=np.int64))
    write_array(offsets_target, offsets)
    write_array(target, tokens)


def write_instructions(
    corpus: dict,
    file: Path | None,
    model: Path,
    target: Path,
    offsets_target: Path,
    responses_target: Path,
) -> None:
    """Writes a set of instructions as tokens, record by record, with the beginnings of responses.

    Prompt and response are tokenised separately, so that no token spans both; the end token follows.
    Tokens are int32 [tokens], offsets int64 [records + 1]. The number of tokens before each response is
    int64 [records], 0 in a set without responses. Raises MeltpointError for a corpus or a tokenizer
    that `write_stream` refuses.
    """
    pairs, tokenizer = read_pairs(corpus, file), tokenizer_of(model)
    prompts, responses = zip(*pairs, strict=True)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    first = tokenizer(list(prompts), verbose=False)["input_ids"]
    second = tokenizer(list(responses), verbose=False, add_special_tokens=False)["input_ids"]
    records = [[*a, *b, *end] for a, b in zip(first, second, strict=True)]
    tokens = np.concatenate([np.asarray(record, dtype=np.int32) for record in records])
    check_vocabulary(tokens, vocabulary_of(model), str(file or target.stem))
    answered = corpus["instructions"]["response"] is not None
    starts = [len(prompt) if answered else 0 for prompt in first]
    write_array(responses_target, np.array(starts, dtype=np.int64))
    offsets = np.cumsum([0, *map(len, records)]).astype(np.int64)
    write_array(offsets_target, offsets)
    write_array(target, tokens)


def vocabulary_of(model: Path) -> int:
    """Number of tokens in a checkpoint's vocabulary, from its config."""
    config = AutoConfig.from_pretrained(model, trust_remote_code=False, local_files_only=True)
    return config.get_text_config().vocab_size


def tokenizer_of(model: Path) -> "PreTrainedTokenizerBase":
    """A checkpoint's own tokenizer; raises MeltpointError if it has none, or one that does not load."""
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False, local_files_only=True)
    # The tokenizers library raises a bare Exception for a file that it cannot read.
    except Exception as error:
        logging.error("%s: its tokenizer", model, exc_info=error)
        raise MeltpointError(
            f"{model}: its tokenizer cannot be loaded: {reason_of(error)}{_remedy(model)}"
        ) from None


def _remedy(model: Path) -> str:
    """End of an error message: the remedy for a tokenizer that does not load; "" if unknown."""
    if (model / "tokenizer.json").exists():
        return (
            ": its tokenizer.json is broken, or of a newer version than tokenizers "
            f"{_version('tokenizers')} reads: save it again with that version"
        )
    vocabulary = model / "tokenizer.model"
    if not vocabulary.exists():
        return f": the folder needs one of {one_of(TOKENIZERS)}"
    needed = ("tiktoken",) if _is_tiktoken(vocabulary) else ("sentencepiece", "protobuf")
    missing = [name for name in needed if _version(name) is None]
    if missing:
        return (
            f": to read its tokenizer.model, pip install {' '.join(missing)} (or use --use-conda)"
        )
    return ""


def _is_tiktoken(path: Path) -> bool:
    """True for a vocabulary of tiktoken: a token in base64 and its number in each line."""
    with path.open("rb") as file:
        return re.fullmatch(rb"[A-Za-z0-9+/=]+ \d+\s*", file.readline(1000)) is not None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def end_token(model: Path) -> int | None:
    """The token with which a checkpoint's tokenizer ends a text; None if it has none."""
    return tokenizer_of(model).eos_token_id


def first_token(model: Path) -> int | None:
    """The token that the tokenizer puts before every text; None if it puts none, or without one."""
    if not any((model / name).exists() for name in TOKENIZERS):
        return None
    tokenizer = tokenizer_of(model)
    empty = tokenizer("").input_ids
    return empty[0] if empty and empty[0] == tokenizer.bos_token_id else None
