"""A Hugging Face tokenizer in llama.cpp's form.

llama.cpp supports two kinds that our models use. For byte-level BPE it knows the pre-tokenizer by name,
not by its regular expression. SentencePiece's BPE with byte fallback merges by the score of the result,
while Hugging Face merges by the rank of the pair. Neither is certain to match, so the vocabulary is
tried on sentences that tell the pre-tokenizers apart.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import gguf

from meltpoint.data.tokenization import tokenizer_of
from meltpoint.errors import MeltpointError

SPACE = "▁"
GPT2_SPLIT = "ByteLevel"
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# SmolLM's split: each digit by itself, and the text between digits as GPT-2 splits it.
DIGITS_SPLIT = "Digits"
# llama.cpp's names of pre-tokenizers, by regular expression and `ignore_merges` (true if a word that is
# a token is left whole).
PRE_TOKENIZERS = {
    (GPT2_SPLIT, False): "gpt-2",
    (DIGITS_SPLIT, False): "smollm",
    (LLAMA3_SPLIT, True): "llama-bpe",
    (LLAMA3_SPLIT, False): "smaug-bpe",
    (LLAMA3_SPLIT.replace("{1,3}", ""), False): "qwen2",
    (TEKKEN_SPLIT, True): "tekken",
}
SPECIAL = ("bos", "eos", "unk", "pad")
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "It's 1234567890 o'clock, THEY'LL say; we'd've paid $3.50 (50%)!",
    "  two  spaces,\ttabs\n\n\nlines \n and an end \n",
    "def f(x):\n    return {'a': [x, 10**3]}  # comment\r\n",
    "Grüße, naïve café, Ελληνικά, русский, 中文字符, 日本語、한국어 🙂🚀",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "snake_case camelCase http://example.org/a?b=c&d=e --flag",
)
# Number of texts from a tokenizer's own tokens on which it is tried besides.
OWN_TEXTS = 3


@dataclass
class Vocabulary:
    """A tokenizer in the form of a GGUF file; `model` is llama.cpp's kind, "gpt2" or "llama".

    `probes` are texts with the tokens that the Hugging Face tokenizer gives them.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    special: dict[str, int]
    adds_bos: bool
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    adds_space: bool = False
    chat_template: str | None = None
    probes: dict[str, list[int]] = field(default_factory=dict)

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Adds the tokenizer to a file's metadata."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.model == "gpt2":
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.adds_space)
        for kind, number in self.special.items():
            getattr(writer, f"add_{kind}_token_id")(number)
        writer.add_add_bos_token(self.adds_bos)
        writer.add_add_eos_token(False)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def vocabulary_of(folder: Path, size: int) -> Vocabulary | None:
    """The vocabulary of a checkpoint's tokenizer, filled up to the model's `size`.

    Added tokens beyond the model's are left out: Gemma 3's smaller models have one for images. None
    without a tokenizer, for a tokenizer with more tokens of its own than the model, and for one of a
    kind that llama.cpp lacks.
    """
    try:
        tokenizer = tokenizer_of(folder)
    except MeltpointError:
        return None
    if not getattr(tokenizer, "is_fast", False):
        return None
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    make = _kind(spec)
    if make is None or max(spec["model"]["vocab"].values()) >= size:
        return None
    vocabulary = make(spec, size)
    special = {kind: getattr(tokenizer, f"{kind}_token_id") for kind in SPECIAL}
    vocabulary.special = {k: n for k, n in special.items() if n is not None and n < size}
    bos = tokenizer.bos_token_id
    vocabulary.adds_bos = bos is not None and tokenizer("a").input_ids[:1] == [bos]
    if isinstance(tokenizer.chat_template, str):
        vocabulary.chat_template = tokenizer.chat_template
    vocabulary.probes = _probes(tokenizer.backend_tokenizer, size)
    return vocabulary


def _probes(tokenizer, size: int) -> dict[str, list[int]]:
    """Texts that the tokenizer can decode again, with their tokens.

    Some are made of its own tokens: a tokenizer learned from little text may fail on the sentences.
    """
    numbers = range(min(tokenizer.get_vocab_size(), size, 2000))
    own = [tokenizer.decode(list(numbers[start::OWN_TEXTS])) for start in range(OWN_TEXTS)]
    tokens = {
        text: tokenizer.encode(text, add_special_tokens=False).ids for text in (*SENTENCES, *own)
    }
    return {text: ids for text, ids in tokens.items() if ids and tokenizer.decode(ids) == text}


def _kind(spec: dict):
    """The function that makes a vocabulary of this tokenizer; None for a kind that llama.cpp lacks."""
    model = spec["model"]
    if model["type"] != "BPE":
        return None
    if _pre_tokenizer(spec) is not None:
        return _byte_level if model["merges"] else None
    # Without a token for every byte, llama.cpp ends the process at an unknown character.
    if all(f"<0x{byte:02X}>" in model["vocab"] for byte in range(256)):
        return _sentence_piece
    return None


def _pre_tokenizer(spec: dict) -> str | None:
    """llama.cpp's name for the tokenizer's split of text into words; None if it has no name."""
    steps = spec["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    if steps[-1].get("type") != "ByteLevel" or steps[-1]["add_prefix_space"]:
        return None
    if len(steps) == 1 and steps[0]["use_regex"]:
        split = GPT2_SPLIT
    elif len(steps) == 2 and steps[0].get("individual_digits") and steps[1]["use_regex"]:
        split = DIGITS_SPLIT
    else:
        split = "".join(step.get("pattern", {}).get("Regex", "?") for step in steps[:-1])
    return PRE_TOKENIZERS.get((split, bool(spec["model"].get("ignore_merges"))))


def _byte_level(spec: dict, size: int) -> Vocabulary:
    tokens, types = _tokens(spec, size)
    merges = [" ".join(pair) for pair in _merges(spec)]
    return Vocabulary("gpt2", _pre_tokenizer(spec), tokens, types, {}, False, merges=merges)


def _sentence_piece(spec: dict, size: int) -> Vocabulary:
    tokens, types = _tokens(spec, size)
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(_merges(spec)):
        ranks.setdefault("".join(pair), rank)
    # Tokens that no merge makes come after all tokens that a merge makes.
    scores = [-float(ranks.get(token, len(ranks) + 1)) for token in tokens]
    space = _adds_space(spec)
    return Vocabulary("llama", "default", tokens, types, {}, False, scores=scores, adds_space=space)


def _adds_space(spec: dict) -> bool:
    """True if the tokenizer puts a space before a text."""
    normalizer, splitter = spec["normalizer"] or {}, spec["pre_tokenizer"] or {}
    steps = normalizer.get("normalizers", [normalizer])
    prepends = any(step.get("type") == "Prepend" for step in steps)
    return prepends or splitter.get("prepend_scheme", "never") != "never"


def _merges(spec: dict) -> list[list[str]]:
    merges = spec["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]


def _tokens(spec: dict, size: int) -> tuple[list[str], list[int]]:
    """The tokens in the order of their numbers, and llama.cpp's type of each, [size].

    Numbers without a token have the type for unused.
    """
    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    unknown = spec["model"].get("unk_token")
    for token, number in spec["model"]["vocab"].items():
        byte = len(token) == 6 and token.startswith("<0x")
        tokens[number] = token
        types[number] = int(gguf.TokenType.BYTE if byte else gguf.TokenType.NORMAL)
    for added in spec["added_tokens"]:
        number, token, special = added["id"], added["content"], added["special"]
        if number < size:
            tokens[number] = token if special else token.replace(SPACE, " ")
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
            types[number] = int(gguf.TokenType.UNKNOWN if token == unknown else kind)
    return tokens, types
