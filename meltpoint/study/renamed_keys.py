"""Keys of a study that have a new name: for one release the old name is read, with a warning."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from meltpoint.data import published
from meltpoint.errors import MeltpointError


def _comparison(part: Mapping) -> str:
    """New name of a table's key `beside`, which stood for two keys."""
    name = part.get("published")
    several = name in published.names() and bool(published.models(name))
    return "published_models" if several else "compare_with"


# New names of old keys, by section. A function finds the new name from the table or figure.
RENAMED: dict[str, dict[str, str | Callable[[Mapping], str]]] = {
    "tables": {
        "of": "source",
        "over": "average_over",
        "beside": _comparison,
        "achieved": "show_achieved",
        "mark": "mark_best",
    },
    "figures": {"of": "source", "over": "average_over", "beside": "published_models"},
}


class Rename(NamedTuple):
    """An old key in a study, `{section}.{name}.{old}`, and its new name."""

    section: str
    name: str
    old: str
    new: str

    @property
    def key(self) -> str:
        """The old key with its section and name."""
        return f"{self.section}.{self.name}.{self.old}"


def renames(study: Mapping) -> Iterator[Rename]:
    """Old keys in a study's YAML content, in the order of the study."""
    for section, names in RENAMED.items():
        parts = study.get(section)
        for name, part in parts.items() if isinstance(parts, Mapping) else ():
            for old in part if isinstance(part, Mapping) else ():
                if old in names:
                    new = names[old]
                    yield Rename(section, name, old, new if isinstance(new, str) else new(part))


def with_new_keys(study: Mapping) -> dict:
    """A copy of the study in which every key has its new name.

    Raises MeltpointError for a part that has both the old and the new key.
    """
    study = dict(study)
    for rename in renames(study):
        part = study[rename.section][rename.name]
        if rename.new in part:
            raise MeltpointError(f"{rename.key}: {rename.new} is the same key: leave this one out")
        part = {rename.new if key == rename.old else key: value for key, value in part.items()}
        study[rename.section] = {**study[rename.section], rename.name: part}
    return study


def warnings(study: Mapping, source: str) -> list[str]:
    """One line for each old key of a study; `source` is the name of its file."""
    return [
        f"{source}: {rename.key}: this key is now called {rename.new}; the old name will be refused "
        "in the next release"
        for rename in renames(study)
    ]
