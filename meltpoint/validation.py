"""Plain sentences of what pydantic refuses: what is expected, and what was given."""

from collections.abc import Mapping

# What each type of pydantic's errors expects, with the values of its context.
EXPECTED = {
    **dict.fromkeys(("string_type", "string_unicode"), "a text; quote what YAML reads otherwise"),
    **dict.fromkeys(
        ("list_type", "tuple_type", "set_type", "iterable_type"), "a list, as in [a, b]"
    ),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"),
        "keys with values, as in {{key: value}}",
    ),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    "int_parsing_size": "a smaller whole number",
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "none_required": "null",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_pattern_mismatch": "{form}",
    "string_too_short": "a text of {min_length} or more characters",
    "string_too_long": "a text of at most {max_length} characters",
    "too_short": "{min_length} or more entries",
    "too_long": "at most {max_length} entries",
    "date_from_datetime_parsing": "a date, as in 2026-11-26",
}
# Words for the patterns of a study's keys.
FORMS = {
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$": "a name of letters, digits, `_`, `.` and `-`",
    r"^[A-Za-z0-9_.-]+$": "a name of letters, digits, `_`, `.` and `-`",
    r"^[a-z][a-z_]*$": "a name of small letters and `_`",
    r"^[\w.-]+(/[\w.-]+)?$": "`owner/name`",
    r"^[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$": "the name of a package",
    r"^[0-9][\w.!+-]*$": "one version, such as 1.2.0",
    r"^[0-9a-f]{64}$": "a SHA-256: 64 of the digits 0-9 and a-f",
    r"^([0-9a-f]{40}|refs/(pr/\d+|convert/parquet))$": "a commit, 40 of the digits 0-9 and a-f: a "
    "branch may move",
    r"^\d*:\d*$": "a range of rows, such as 0:1000",
    r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$": "auto, cpu, mps, cuda, cuda:0, xpu or xpu:0",
}
# Errors that say of themselves what is wrong.
SENTENCES = {
    "missing": "this key is needed",
    "extra_forbidden": "there is no such key",
    "union_tag_not_found": "{discriminator} is needed, to say which kind it is",
    "union_tag_invalid": "{discriminator} is one of {expected_tags}",
    "frozen_instance": "it cannot be changed",
    "invalid_key": "a key must be a text; quote what YAML reads otherwise",
}
# The longest value that a sentence repeats, in characters.
LONGEST = 60


def problem(error: Mapping) -> str:
    """Sentence of one of pydantic's errors: what must be there, and what is, without the key.

    error: one entry of `ValidationError.errors()`.
    """
    kind, context = error["type"], error.get("ctx", {})
    context = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
    if kind in SENTENCES:
        return SENTENCES[kind].format(**context)
    if kind not in EXPECTED:
        message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return message.replace("Input should be", "must be", 1)
    form = FORMS.get(context.get("pattern"), f"a text of the form {context.get('pattern')}")
    verb = "have" if kind in ("too_short", "too_long") else "be"
    return f"must {verb} {EXPECTED[kind].format(form=form, **context)}{found(error.get('input'))}"


def found(value: object) -> str:
    """Clause of the value that was given, as YAML has it."""
    if value is None:
        return "; it has no value"
    if isinstance(value, bool):
        return f"; it is {str(value).lower()}"
    if isinstance(value, str | int | float):
        text = repr(value)
        return f"; it is {text if len(text) <= LONGEST else f'{text[: LONGEST - 3]}...'}"
    if isinstance(value, Mapping):
        return "; it has keys" if value else "; it is empty"
    if isinstance(value, list | tuple):
        return "; it is a list" if value else "; it is an empty list"
    return ""
