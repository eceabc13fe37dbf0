"""Checks a study's file: ``python -m meltpoint.study.check studies/mine.yaml``.

Snakemake reads the file first, and does not say which line of it is no YAML. This names the line.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from meltpoint.errors import MeltpointError, at
from meltpoint.study import config
from meltpoint.study.data_files import check_documents
from meltpoint.study.resolved import Study

# The tag of the merge key `<<`, which may occur more than once in a mapping.
MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> dict:
    """The content of a study's file, by key.

    Raises MeltpointError, naming the line, for a file that is not valid YAML. Raises it too for a file
    that cannot be read or has no keys.
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
    """Raises MeltpointError for a key that occurs twice in one mapping of a study's file.

    YAML keeps the last of them, and the content of the first would be lost silently. A file that is not
    valid YAML passes: `read_yaml` refuses it.
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
    """Repeated keys: (path of the key, its first line, its second line).

    seen: ids of visited nodes, as an anchor can make one node part of several others.
    """
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
    """Prints one line if the study can be planned; otherwise exits with the reason."""
    try:
        content = read_yaml(path)
        at(path.name, check_keys, path)
        study = Study(config.load(content, path.name), path.resolve().parent)
        check_documents(study)
    except MeltpointError as error:
        sys.exit(f"Error: {error}")
    print(f"{path}: a study")


def command_line() -> argparse.ArgumentParser:
    """Parser of the arguments of this command."""
    parser = argparse.ArgumentParser(prog="python -m meltpoint.study.check", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("study", type=Path, help="YAML file of a study")
    return parser


if __name__ == "__main__":
    main(command_line().parse_args().study)
