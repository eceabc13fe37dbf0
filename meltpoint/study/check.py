"""Checks a study's file: ``python -m meltpoint.study.check studies/mine.yaml``.

Snakemake reads the file first, and does not say which line of it is no YAML. This names the line.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from meltpoint.errors import MeltpointError, at
from meltpoint.study import config
from meltpoint.study.data_files import check_documents
from meltpoint.study.resolved import Study

# The tag of `<<`, which may be there more than once.
MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> dict:
    """The content of a study's file.

    Raises MeltpointError, naming the line, for one that is no YAML or has no keys.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise MeltpointError(f"{path}{place}: no valid YAML: {error.problem}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MeltpointError(f"{path}: the study cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise MeltpointError(
            f"{path}: a study is a list of keys with values, such as `study: mine`"
        )
    return content


def check_keys(path: Path) -> None:
    """Raises MeltpointError for a key that a study's file has twice in one place.

    YAML takes the last one, and what stands under the first is gone. A file that is no YAML is left to
    those who read it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            root = yaml.compose(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return
    for key, first, again in _repeated(root, "", set()):
        raise MeltpointError(
            f"{key}: this key is there twice, in lines {first} and {again}, of which YAML takes the "
            "second alone: give one another name, or join them"
        )


def _repeated(node: yaml.Node | None, above: str, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    """Keys that are there twice, each with both of its lines; `seen` are nodes that were visited."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item, above, seen)
        return
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        name, line = (key.tag, str(key.value)), key.start_mark.line + 1
        path = f"{above}.{key.value}".lstrip(".")
        if name in lines and key.tag != MERGE:
            yield path, lines[name], line
        lines[name] = line
        yield from _repeated(value, path, seen)


def main(path: Path) -> None:
    """Says whether a study can be planned; exits with one sentence if not."""
    try:
        content = read_yaml(path)
        at(path.name, check_keys, path)
        study = Study(config.load(content, path.name), path.resolve().parent)
        check_documents(study)
    except MeltpointError as error:
        sys.exit(f"Error: {error}")
    print(f"{path}: a study")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
