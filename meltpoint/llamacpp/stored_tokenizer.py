"""The tokenizer in a GGUF file as a Hugging Face tokenizer.

transformers can build a tokenizer from a file too. It gives every byte-level BPE GPT-2's split of text
into words, and a Llama its begin token as its end token. This module uses the file's own split and the
file's special tokens.
"""

from collections.abc import Iterator

import gguf
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from meltpoint.errors import MeltpointError, reason_of
from meltpoint.llamacpp.file import value
from meltpoint.llamacpp.tokenizer import DIGITS_SPLIT, GPT2_SPLIT, PRE_TOKENIZERS, SPACE
from meltpoint.text import one_of

# Names of splits in older files, with the names in `PRE_TOKENIZERS`.
OTHER_NAMES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe"}
# Splits of byte-level tokenizers that begin a text with a token unless the file says otherwise.
BEGIN_BY_DEFAULT = ("llama-bpe", "tekken")
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def tokenizer_of(reader: gguf.GGUFReader) -> PreTrainedTokenizerFast:
    """The tokenizer of a file.

    Raises MeltpointError for a file without a tokenizer, and for an unknown kind or split of words.
    """
    kind = value(reader, "tokenizer.ggml.model")
    if kind in (None, "none", "no_vocab") or "tokenizer.ggml.tokens" not in reader.fields:
        raise MeltpointError("it holds no tokenizer: name a file that does")
    if kind not in ("gpt2", "llama"):
        raise MeltpointError(f"its tokenizer is of the kind {kind}; gpt2 and llama are decoded")
    tokens, types = (value(reader, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type"))
    try:
        tokenizer = (_byte_level if kind == "gpt2" else _sentence_piece)(reader, tokens)
    except MeltpointError:
        raise
    # The tokenizers library raises bare Exceptions.
    except Exception as error:
        raise MeltpointError(f"its tokenizer cannot be decoded: {reason_of(error)}") from None
    _add_tokens(tokenizer, tokens, types or [])
    special = {
        f"{name}_token": tokens[number]
        for name, key in SPECIAL.items()
        if (number := value(reader, f"tokenizer.ggml.{key}_token_id")) is not None
    }
    if "bos_token" in special and _begins(reader, kind):
        begin = special["bos_token"]
        tokenizer.post_processor = processors.Sequence(
            [processors.TemplateProcessing(
                single=[begin, "$A"],
                pair=[begin, "$A", begin, "$B"],
                special_tokens=[(begin, tokens.index(begin))],
            )]
        )  # fmt: skip
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    found.chat_template = value(reader, "tokenizer.chat_template")
    return found


def _begins(reader: gguf.GGUFReader, kind: str) -> bool:
    """True if the begin token comes before every text, by the file or by llama.cpp's default."""
    stored = value(reader, "tokenizer.ggml.add_bos_token")
    default = kind == "llama" or _split_name(reader) in BEGIN_BY_DEFAULT
    return default if stored is None else stored


def _split_name(reader: gguf.GGUFReader) -> str | None:
    name = value(reader, "tokenizer.ggml.pre")
    return OTHER_NAMES.get(name, name)


def _byte_level(reader: gguf.GGUFReader, tokens: list[str]) -> Tokenizer:
    """A tokenizer of bytes, merged by the ranks of pairs."""
    splits = {name: split for split, name in PRE_TOKENIZERS.items()}
    name = _split_name(reader)
    if name not in splits:
        raise MeltpointError(
            f"its tokenizer splits text as {name}; {one_of(splits)} are decoded, as the wrong split "
            "gives other tokens"
        )
    split, ignores_merges = splits[name]
    merges = [tuple(merge.split(" ")) for merge in value(reader, "tokenizer.ggml.merges") or []]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=ignores_merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(split)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pre_tokenizer(split: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer, which splits text into words; `split` is one in `llamacpp.tokenizer`."""
    if split == GPT2_SPLIT:
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if split == DIGITS_SPLIT:
        first = pre_tokenizers.Digits(individual_digits=True)
    else:
        first = pre_tokenizers.Split(Regex(split), "isolated")
    after = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == DIGITS_SPLIT)
    return pre_tokenizers.Sequence([first, after])


def _sentence_piece(reader: gguf.GGUFReader, tokens: list[str]) -> Tokenizer:
    """A tokenizer of SentencePiece's BPE, which merges the pair whose token has the best score."""
    vocabulary = {token: number for number, token in enumerate(tokens)}
    scores = value(reader, "tokenizer.ggml.scores")
    if scores is None:
        raise MeltpointError("its tokenizer has no scores")
    unknown = value(reader, "tokenizer.ggml.unknown_token_id")
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            [pair for number in _by_score(scores) for pair in _pairs(tokens[number], vocabulary)],
            unk_token=None if unknown is None else tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    adds_space = value(reader, "tokenizer.ggml.add_space_prefix") is not False
    steps = [normalizers.Prepend(SPACE)] if adds_space else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    spaces = [decoders.Strip(" ", 1, 0)] if adds_space else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *spaces]
    )
    return tokenizer


def _by_score(scores: list[float]) -> list[int]:
    """Numbers of the tokens, the best score first; equal scores in the order of the numbers."""
    return sorted(range(len(scores)), key=lambda number: -scores[number])


def _pairs(token: str, vocabulary: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Pairs of tokens that merge into this token."""
    for place in range(1, len(token)):
        left, right = token[:place], token[place:]
        if left in vocabulary and right in vocabulary:
            yield left, right


def _add_tokens(tokenizer: Tokenizer, tokens: list[str], types: list[int]) -> None:
    """Marks the tokens that are never split or merged: control tokens, and tokens added by users."""
    for token, kind in zip(tokens, types, strict=False):
        if kind in (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN):
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == gguf.TokenType.USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=False)])
