"""Sentences of what pydantic refuses: one for each common type of error, with no word of pydantic's."""

import datetime
import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meltpoint.study.config import StudyConfig
from meltpoint.validation import FORMS, problem


class Part(BaseModel):
    """A section with a key that is needed."""

    model_config = ConfigDict(extra="forbid")

    key: int = Field()


class Colour(enum.Enum):
    """Two colours."""

    RED = "red"
    BLUE = "blue"


NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
LISTS = "must be a list, as in [a, b]; it "
KEYS = "must be keys with values, as in {key: value}; it "
CASES: list[tuple[Any, object, str]] = [
    (str, 5, "must be a text; quote what YAML reads otherwise; it is 5"),
    (list[int], "wanda", f"{LISTS}is 'wanda'"),
    (list[int], {"a": 1}, f"{LISTS}has keys"),
    (tuple[int, ...], None, f"{LISTS}has no value"),
    (dict[str, int], [], f"{KEYS}is an empty list"),
    (Part, [1], f"{KEYS}is a list"),
    (int, "many", "must be a whole number; it is 'many'"),
    (int, 0.5, "must be a whole number; it is 0.5"),
    (Annotated[int, Field(strict=True)], True, "must be a whole number; it is true"),
    (float, "x", "must be a number; it is 'x'"),
    (float, [1], "must be a number; it is a list"),
    (bool, "perhaps", "must be true or false; it is 'perhaps'"),
    (bool, 7.5, "must be true or false; it is 7.5"),
    (None, 1, "must be null; it is 1"),
    (Annotated[float, Field(allow_inf_nan=False)], "nan", "must be a finite number; it is 'nan'"),
    (Annotated[float, Field(gt=0)], -1, "must be greater than 0; it is -1"),
    (Annotated[int, Field(ge=1)], 0, "must be at least 1; it is 0"),
    (Annotated[int, Field(lt=8)], 8, "must be less than 8; it is 8"),
    (Annotated[int, Field(le=8)], 9, "must be at most 8; it is 9"),
    (Annotated[int, Field(multiple_of=4)], 6, "must be a multiple of 4; it is 6"),
    (Literal["a", "b"], "c", "must be 'a' or 'b'; it is 'c'"),
    (Colour, "green", "must be 'red' or 'blue'; it is 'green'"),
    (Annotated[str, Field(pattern=NAME)], "a b",
     "must be a name of letters, digits, `_`, `.` and `-`; it is 'a b'"),
    (Annotated[str, Field(min_length=1)], "", "must be a text of 1 or more characters; it is ''"),
    (Annotated[str, Field(max_length=1)], "ab",
     "must be a text of at most 1 characters; it is 'ab'"),
    (Annotated[list[int], Field(min_length=1)], [],
     "must have 1 or more entries; it is an empty list"),
    (Annotated[list[int], Field(max_length=1)], [1, 2],
     "must have at most 1 entries; it is a list"),
    (Part, {}, "this key is needed"),
    (Part, {"key": 1, "other": 2}, "there is no such key"),
    (datetime.date, "x" * 99, f"must be a date, as in 2026-11-26; it is '{'x' * 56}..."),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "sentence"), CASES)
def test_an_error_is_a_plain_sentence(annotation, value, sentence):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(annotation).validate_python(value)
    assert problem(caught.value.errors()[0]) == sentence


def patterns(schema: object) -> set[str]:
    """All patterns in a JSON schema."""
    if isinstance(schema, list):
        return set().union(*map(patterns, schema))
    if not isinstance(schema, dict):
        return set()
    pattern = schema.get("pattern")
    own = {pattern} if isinstance(pattern, str) else set()
    return own.union(schema.get("patternProperties", {}), *map(patterns, schema.values()))


def test_every_pattern_of_a_study_has_words():
    found = patterns(StudyConfig.model_json_schema())
    assert len(found) > 5
    assert found <= set(FORMS)
