"""Corpora: documents from their source, and their tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meltpoint.data import text_files
from meltpoint.data.records import texts_of
from meltpoint.errors import MeltpointError
from meltpoint.files import whole_file
from meltpoint.progress import track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def documents(corpus: dict, path: Path | None) -> list[str]:
    """The texts of a corpus, one for each document.

    corpus: the study's section. path: file of a local corpus. Raises MeltpointError for a corpus that
    cannot be read or holds no text.
    """
    if "builtin" in corpus:
        from meltpoint.demo.text import documents as python_docs

        return python_docs(corpus["split"])
    if corpus.get("instructions"):
        from meltpoint.data.instructions import read_pairs

        found = [prompt + response for prompt, response in read_pairs(corpus, path)]
    else:
        found = read_column(corpus, path, corpus["field"])
    if not any(text.strip() for text in found):
        raise MeltpointError(f"{corpus.get('hub') or path}: the corpus is empty")
    return found


def read_column(corpus: Mapping, path: Path | None, field: str) -> list[str]:
    """The texts of one key or column, in a corpus of the hub or in a local file; a text may be empty.

    Raises MeltpointError for a corpus that cannot be read, or that has no such column.
    """
    corpus = {**corpus, "field": field}
    return _hub(corpus) if "hub" in corpus else _local(corpus, path)


def _local(corpus: dict, path: Path) -> list[str]:
    texts, documents = text_files.read(path, corpus), corpus["documents"]
    if documents is None:
        return texts
    return texts[slice(*(int(end) if end else None for end in documents.split(":")))]


def _hub(corpus: dict) -> list[str]:
    from datasets import load_dataset

    try:
        rows = load_dataset(
            corpus["hub"],
            corpus["config"],
            data_files=corpus["data_files"],
            split=corpus["split"],
            revision=corpus["revision"],
        )
        field = corpus["field"]
        if field not in rows.column_names:
            raise MeltpointError(
                f"there is no column {field!r} ({', '.join(rows.column_names)}): set the corpus's "
                "`field`"
            )
        texts = list(rows[field])
    except Exception as error:  # the library raises a dozen kinds for what is one: not to be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MeltpointError(
            f"the corpus {corpus['hub']} at {corpus['revision']} cannot be loaded: {reason}"
        ) from None
    return texts_of(Path(corpus["hub"]), [texts], field)


def stream(
    texts: list[str], join: str, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the joined documents, tokenised in one call, and the end of each in the text.

    Returns tokens, int32 [tokens], and ends, int64 [tokens], in bytes of UTF-8 from the beginning of
    the text. Ends are empty for a slow tokenizer, which does not tell the places of its tokens.
    """
    text = join.join(texts)
    encoded = tokenizer(text, verbose=False, return_offsets_mapping=tokenizer.is_fast)
    tokens = np.asarray(encoded["input_ids"], dtype=np.int32)
    if not tokenizer.is_fast:
        return tokens, np.empty(0, np.int64)
    ends = np.fromiter((end for _, end in encoded["offset_mapping"]), np.int64, len(tokens))
    # A begin token has the place 0, and some tokenizers leave white space out of a token's place.
    return tokens, np.maximum.accumulate(byte_positions(text)[ends])


def byte_positions(text: str) -> np.ndarray:
    """Number of bytes of UTF-8 before each character and before the end, int64 [characters + 1]."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    widths = 1 + sum((codes >= first).astype(np.int64) for first in (0x80, 0x800, 0x10000))
    return np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)


def separate(
    texts: list[str], tokenizer: "PreTrainedTokenizerBase", batch: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Each document tokenised by itself, as the official C4 loader does.

    Returns the tokens of all documents, int32 [tokens], and the offsets at which each document starts
    and the last one ends, int64 [documents + 1].
    """
    pieces, lengths = [], []
    for start in track(range(0, len(texts), batch), "tokenising"):
        for ids in tokenizer(texts[start : start + batch], verbose=False)["input_ids"]:
            pieces.append(np.asarray(ids, dtype=np.int32))
            lengths.append(len(ids))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.concatenate(pieces), offsets


def read_tokens(path: Path, dimensions: int) -> np.ndarray:
    """Tokens from a .npy file of integers, int32, [tokens] or [samples, length] by `dimensions`.

    With one dimension a stack of windows is read as one stream. Raises MeltpointError for another kind
    of array, and for an empty one.
    """
    try:
        tokens = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MeltpointError(f"{path}: no readable .npy file: {error}") from None
    if dimensions == 1 and tokens.ndim == 2:
        tokens = tokens.reshape(-1)
    if tokens.ndim != dimensions or tokens.dtype.kind not in "iu" or not tokens.size:
        raise MeltpointError(
            f"{path}: {dimensions}-dimensional integers are needed, not {tokens.dtype} "
            f"{list(tokens.shape)}"
        )
    if tokens.max() > (most := np.iinfo(np.int32).max):
        raise MeltpointError(f"{path}: token {tokens.max()} is larger than any vocabulary ({most})")
    return tokens.astype(np.int32)


def write_array(target: Path, array: np.ndarray) -> None:
    """Writes a .npy file, whole or not at all."""
    with whole_file(target) as partial, partial.open("wb") as file:
        np.save(file, array)


def check_vocabulary(tokens: np.ndarray, vocabulary: int, source: str) -> None:
    """Raises MeltpointError for a token without an embedding in the model, or for no tokens.

    vocabulary: number of embeddings. source: name of the tokens in the message.
    """
    if not tokens.size:
        raise MeltpointError(f"{source} holds no tokens: the model's tokenizer finds none in it")
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        worst = tokens.max() if tokens.max() >= vocabulary else tokens.min()
        raise MeltpointError(
            f"{source} holds token {worst}, the model's vocabulary has {vocabulary}: the tokens "
            "are another tokenizer's"
        )
