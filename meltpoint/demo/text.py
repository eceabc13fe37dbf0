"""The builtin corpus `python-docs`: English and code that every Python installation carries.

The docstrings of the standard library (modules, classes, functions) and the language reference in
`pydoc_data.topics`: about 2 MB, with no download. The text is that of the running Python and differs
between versions; `version()` identifies it.
"""

import ast
import hashlib
import inspect
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc_data import topics
from typing import Literal

# `encodings` is a hundred generated files that differ in one name: test would repeat train.
SKIPPED = {"test", "tests", "idle_test", "turtledemo", "encodings", "site-packages", "__pycache__"}
# `_sysconfigdata` holds paths of the build: it is not text, and differs between machines.
SOURCE = re.compile(r"(?!_sysconfigdata).*\.py")
TEST_SHARE = 0.11  # of the names; 8 % of the bytes
# Shorter paragraphs ("Example:", "For example:") are phrases of the language, not copies.
COPY_LENGTH = 40


@cache
def documents(split: Literal["train", "test"]) -> list[str]:
    """Documents of a split, sorted by name: one for each source file, one for each topic.

    A hash of its name decides the split of a document, which therefore does not depend on the other
    documents. Each docstring and each longer paragraph is kept only at its first place in both splits:
    nothing in the test text is a copy from the train text.

    Raises:
        ValueError: `split` is neither `train` nor `test`.
        FileNotFoundError: this Python has no sources of its standard library.
    """
    if split not in ("train", "test"):
        raise ValueError(f"python-docs has the splits train and test, not {split!r}.")
    return [text for name, text in _corpus() if _is_test(name) == (split == "test")]


@cache
def version() -> str:
    """Version of the Python whose text this is, with a hash of its files: `3.11.7-1f0c2a9b`.

    It is fast, as nothing is parsed; making the text takes seconds.
    """
    digest = hashlib.sha256(Path(topics.__file__).read_bytes())
    for name, path in _files():
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return f"{platform.python_version()}-{digest.hexdigest()[:8]}"


@cache
def _corpus() -> tuple[tuple[str, str], ...]:
    sources = [(name, _docstrings(path)) for name, path in _files()]
    references = [(f"pydoc_data/topics/{name}", [text]) for name, text in topics.topics.items()]
    seen: set[str] = set()
    named = sorted(sources + references)
    texts = [(name, "\n\n".join(_unseen(pieces, seen))) for name, pieces in named]
    return tuple((name, text) for name, text in texts if text)


def _files() -> list[tuple[str, Path]]:
    library = Path(sysconfig.get_path("stdlib"))
    if not (library / "abc.py").is_file():
        raise FileNotFoundError(f"The standard library in {library} has no sources to read.")
    found = []
    for folder, below, names in os.walk(library):
        below[:] = sorted(set(below) - SKIPPED)
        found += [Path(folder, name) for name in names if SOURCE.fullmatch(name)]
    return sorted((path.relative_to(library).as_posix(), path) for path in found)


def _docstrings(path: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # templates and fixtures are not always Python
            return []
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = sorted(
        (node for node in ast.walk(tree) if isinstance(node, documented)),
        key=lambda node: getattr(node, "lineno", 0),
    )
    return [text for node in nodes if (text := ast.get_docstring(node))]


def _unseen(pieces: list[str], seen: set[str]) -> Iterator[str]:
    for piece in pieces:
        text = inspect.cleandoc(piece).strip()
        if text in seen:
            continue
        paragraphs = [part for part in text.split("\n\n") if _key(part) not in seen]
        seen.add(text)
        seen.update(key for part in paragraphs if len(key := _key(part)) >= COPY_LENGTH)
        if paragraphs:
            yield "\n\n".join(paragraphs)


def _key(paragraph: str) -> str:
    return " ".join(paragraph.split())


def _is_test(name: str) -> bool:
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return draw < TEST_SHARE
