"""What is said of a key of a study that pydantic refuses."""

from functools import reduce
from operator import getitem

from pydantic import BaseModel

from meltpoint import figures
from meltpoint.text import did_you_mean, nearest, one_of
from meltpoint.validation import problem

# Errors of validators, and of sections that are told apart by a key.
SAYS_NOTHING_GIVEN = {"value_error", "kind"}
UNIONS = {"models", "corpora", "calibrations", "evaluations", "figures"}


def sentence(error: dict, study: dict, model: type[BaseModel]) -> str:
    """Sentence of one of pydantic's errors of a study of that model, behind the key that is wrong.

    error: an entry of `ValidationError.errors()`.
    """
    key = _key(error["loc"])
    if error["type"] == "extra_forbidden":
        place, wrong = error["loc"], error["loc"][-1]
        elsewhere = _of_another_kind(place) or nearest(wrong, _keys(model) - _beside(study, place))
        return f"{key}: there is no such key{elsewhere}"
    if error["type"] == "union_tag_invalid":
        kind, kinds = error["ctx"]["tag"], figures.registry()
        return f"{key}.kind: no kind of figure is called {kind!r}{did_you_mean(kind, kinds)}"
    given = error.get("input")
    said = error["type"] in SAYS_NOTHING_GIVEN and isinstance(given, str | int | float)
    message = f"{problem(error)} (given: {given!r})" if said else problem(error)
    return f"{key}: {message}" if key else message


def _keys(model: type[BaseModel]) -> set[str]:
    """The keys of all sections of a study."""
    sections = model.model_json_schema()
    return {
        key
        for section in (sections, *sections["$defs"].values())
        for key in section.get("properties", ())
    }


def _beside(study: dict, location: tuple) -> set[str]:
    """The keys of the section in which a key stands; that key alone where a place is no key."""
    try:
        return set(reduce(getitem, _parts(location)[:-1], study))
    except (KeyError, IndexError, TypeError):
        return {location[-1]}


def _of_another_kind(location: tuple) -> str:
    """Says of a key of a figure that only other kinds of figure have it; "" of any other key."""
    if location[0] != "figures" or len(location) != 4:
        return ""
    _, _, kind, key = location
    kinds = [name for name, other in figures.registry().items() if key in other.spec.model_fields]
    return f" for {kind}; {one_of(kinds)} has it" if kinds else ""


def _key(location: tuple) -> str:
    """The key as it stands in the study."""
    return ".".join(map(str, _parts(location)))


def _parts(location: tuple) -> list:
    """Keys and positions that lead to a value; pydantic adds which member of a union it tried."""
    parts = [part for part in location if part != "[key]"]
    if parts and parts[0] in UNIONS:
        del parts[2:3]
    if parts[:2] == ["compute", "batch"]:
        del parts[2:]
    return parts
