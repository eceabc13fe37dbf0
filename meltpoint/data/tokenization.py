"""A corpus tokenised once by a model's tokenizer, as files."""

from pathlib import Path

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
from meltpoint.errors import MeltpointError

# One of which a tokenizer leaves in its folder.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


def write_stream(
    corpus: dict, file: Path | None, model: Path, target: Path, ends_target: Path
) -> None:
    """Writes a corpus as one stream of tokens, int32 [tokens], and the byte at which each ends.

    The second, int64 [tokens], is empty where the text is not known: for a corpus of tokens.
    Raises MeltpointError for a corpus that cannot be read or is empty, for a model without a
    tokenizer, and for a tokenizer whose vocabulary is larger than the model's.
    """
    # Of all corpora, those that are tokens already have no documents to join.
    if "join" not in corpus:
        tokens, ends = read_tokens(file, dimensions=1), np.empty(0, np.int64)
    else:
        tokens, ends = stream(documents(corpus, file), corpus["join"], tokenizer_of(model))
    check_vocabulary(tokens, vocabulary_of(model), str(file or target.stem))
    write_array(ends_target, ends)
    write_array(target, tokens)


def write_documents(
    corpus: dict, file: Path | None, model: Path, target: Path, offsets_target: Path
) -> None:
    """Writes a corpus's documents tokenised one by one, and where each of them starts.

    Raises MeltpointError as `write_stream` does.
    """
    tokens, offsets = separate(documents(corpus, file), tokenizer_of(model))
    check_vocabulary(tokens, vocabulary_of(model), str(file or target.stem))
    write_array(offsets_target, offsets)
    write_array(target, tokens)


def vocabulary_of(model: Path) -> int:
    config = AutoConfig.from_pretrained(model, trust_remote_code=False, local_files_only=True)
    return config.get_text_config().vocab_size


def tokenizer_of(model: Path):
    """A checkpoint's own tokenizer; raises MeltpointError where it has none that loads."""
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MeltpointError(f"{model}: its tokenizer cannot be loaded: {reason}") from None


def first_token(model: Path) -> int | None:
    """The token that the tokenizer puts before every text; None where it puts none, or is not there."""
    if not any((model / name).exists() for name in TOKENIZERS):
        return None
    tokenizer = tokenizer_of(model)
    empty = tokenizer("").input_ids
    return empty[0] if empty and empty[0] == tokenizer.bos_token_id else None
