"""Plain language: public functions say what they return, and keys of a study what they are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meltpoint import evaluations, methods
from meltpoint.study.config import StudyConfig

ROOT = Path(__file__).parents[1] / "meltpoint"
# A docstring that begins so has no thing of the program as its subject.
RIDDLES = re.compile(r"(What|Which|How|Whether|The same|Such|Those)\b")
SENTENCE = re.compile(r"[A-Z`\d].*\.", re.DOTALL)


def public_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods of the library without a leading underscore, each with its place."""
    for file in sorted(ROOT.rglob("*.py")):
        yield from _public_in(ast.parse(file.read_text()), str(file.relative_to(ROOT)))


def _public_in(
    node: ast.Module | ast.ClassDef, place: str
) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _public_in(child, f"{place} {child.name}")
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield f"{place} {child.name}", child


def unannotated(function: ast.FunctionDef) -> list[str]:
    """Names of parameters without a type, and `return` where that has none."""
    every = function.args
    parameters = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    names = [
        p.arg for p in parameters if p and p.annotation is None and p.arg not in ("self", "cls")
    ]
    return names if function.returns else [*names, "return"]


def descriptions(schema: object, place: str) -> Iterator[tuple[str, str, str]]:
    """Every description in a schema: its place, its key and its text on one line."""
    if isinstance(schema, dict):
        if isinstance(text := schema.get("description"), str):
            yield place, place.rpartition(".")[2], " ".join(text.split())
        for key, part in schema.items():
            yield from descriptions(part, f"{place}.{key}")
    elif isinstance(schema, list):
        for part in schema:
            yield from descriptions(part, place)


def is_sentence(key: str, text: str) -> bool:
    """True for a text that is a full sentence and more than its key in other words."""
    words = re.findall(r"[a-z]+", text.lower())
    repeated = {*re.findall(r"[a-z]+", key.lower()), "a", "an", "the", "of", "its", "value", "key"}
    types = {"string", "str", "number", "integer", "int", "float", "boolean", "bool", "list"}
    says_more = set(words) - repeated - types
    return bool(SENTENCE.fullmatch(text)) and len(text.split()) >= 3 and bool(says_more)


def settings_classes() -> dict[str, type]:
    """Classes of keys: the study's, and those of methods and evaluations."""
    kinds = {**methods.registry(), **evaluations.registry()}
    return {"study": StudyConfig, **{name: kind.settings_class for name, kind in kinds.items()}}


def test_every_public_function_has_a_docstring():
    functions = list(public_functions())
    assert len(functions) > 1000
    assert [place for place, function in functions if not ast.get_docstring(function)] == []


def test_every_public_function_has_types():
    missing = {place: unannotated(function) for place, function in public_functions()}
    assert {place: names for place, names in missing.items() if names} == {}


def test_no_docstring_is_a_riddle():
    texts = {place: ast.get_docstring(function) or "" for place, function in public_functions()}
    assert {place: text for place, text in texts.items() if RIDDLES.match(text)} == {}


@pytest.mark.parametrize("name", settings_classes())
def test_every_description_is_a_sentence(name):
    schema = settings_classes()[name].model_json_schema()
    texts = list(descriptions(schema, name))
    assert texts
    assert [(place, text) for place, key, text in texts if not is_sentence(key, text)] == []


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("seed", "of the draw"),
        ("seed", "The seed."),
        ("layers", "Number of layers."),
        ("models", "A list of the models."),
        ("grids", "the grids of a row."),
    ],
)
def test_a_fragment_or_a_repetition_is_no_sentence(key, text):
    assert not is_sentence(key, text)
    assert is_sentence("seed", "Seed of the random draw.")


def test_a_parameter_without_a_type_is_found():
    function = ast.parse("def f(self, a, *b, c: int = 1, **d): ...").body[0]
    assert unannotated(function) == ["a", "b", "d", "return"]
