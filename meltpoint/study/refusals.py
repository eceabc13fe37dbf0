"""Error messages for keys of a study that pydantic refuses."""

from functools import reduce
from operator import getitem

from pydantic import BaseModel

from meltpoint import figures
from meltpoint.text import did_you_mean, nearest, one_of
from meltpoint.validation import problem

# Types of errors whose messages do not contain the given value.
SAYS_NOTHING_GIVEN = {"value_error", "kind"}
UNIONS = {"models", "corpora", "calibrations", "evaluations", "figures"}


def sentence(error: dict, study: dict, model: type[BaseModel]) -> str:
    """A sentence for one error of pydantic; it begins with the wrong key.

    error: an entry of `ValidationError.errors()`. study: the content that was read. model: the class
    of the study's config.
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
    """The keys of the section that holds a key; the key alone if the location is not in the study."""
    try:
        return set(reduce(getitem, _parts(location)[:-1], study))
    except (KeyError, IndexError, TypeError):
        return {location[-1]}


def _of_another_kind(location: tuple) -> str:
    """End of the sentence for a figure's key that other kinds of figure have; "" for other keys."""
    if location[0] != "figures" or len(location) != 4:
        return ""
    _, _, kind, key = location
    kinds = [name for name, other in figures.registry().items() if key in other.spec.model_fields]
    return f" for {kind}; {one_of(kinds)} has it" if kinds else ""


def _key(location: tuple) -> str:
    """The key with its sections, joined by dots."""
    return ".".join(map(str, _parts(location)))


def _parts(location: tuple) -> list:
    """Keys and positions that lead to a value in the study.

    These are pydantic's, without its entries for the member of a union that it tried.
    """
    parts = [part for part in location if part != "[key]"]
    if parts and parts[0] in UNIONS:
        del parts[2:3]
    if parts[:2] == ["compute", "batch"]:
        del parts[2:]
    return parts
