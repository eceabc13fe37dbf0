"""Names and settings of lm-eval's tasks, read from the files of its package.

Planning a study needs them. Importing lm-eval takes seconds, and its own index, which parses all of its
14,000 files, takes seconds more. This module finds names by a pattern, and parses only the files of the
tasks that a study names.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from meltpoint.errors import MeltpointError
from meltpoint.text import did_you_mean

# All other files may declare tasks: a file that others include need not end in .yaml.
OTHER_FILES = (".py", ".pyc", ".md", ".json", ".jsonl", ".txt", ".csv")
# A key with its value on the line, and with the items of a list on the lines after it.
DECLARATION = re.compile(
    r"""^(?P<indent>[ \t]*(?:-[ \t]+)?)["']?(?P<key>task|group|tag)["']?:"""
    r"""(?P<value>[^\n]*)(?P<items>(?:\n[ \t]*-[ \t]+[^\n:]*)*)""",
    re.MULTILINE,
)
WORD = re.compile(r"""[^\s,\[\]"'#-][^\s,\[\]"']*""")

Config = Mapping[str, Any]


class Loader(yaml.SafeLoader):
    """Reads a task's file without lm-eval: a value that names a function is read as that name."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@cache
def files() -> Mapping[str, Path | None] | None:
    """Names of lm-eval's tasks, groups and tags, each with the file that declares it.

    The file is None for a tag. The result is None if lm-eval is not installed: the jobs have an
    environment of their own.
    """
    package = importlib.util.find_spec("lm_eval")
    if package is None:
        return None
    found: dict[str, Path | None] = {}
    for path in _paths(Path(package.submodule_search_locations[0], "tasks")):
        for name, is_declared in _names(path.read_text(encoding="utf-8", errors="replace")):
            if found.get(name) is None:
                found[name] = path if is_declared else None
    return found


def _paths(folder: Path) -> list[Path]:
    """The files that may declare tasks, in the order of their paths."""
    return sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.endswith(OTHER_FILES)
    )


def _names(text: str) -> Iterator[tuple[str, bool]]:
    """Each name in a file's text, and true if the file may declare the name."""
    for match in DECLARATION.finditer(text):
        for name in WORD.findall(match["value"]):
            yield name, match["key"] != "tag" and not match["indent"]
        for name in WORD.findall(match["items"]):
            yield name, False


def check_name(name: str, execute_code: bool) -> None:
    """Raises MeltpointError for a name that lm-eval lacks or that cannot be measured.

    That is a group without a mean over all its documents, or a task that runs code without
    `execute_code`. Nothing is checked if lm-eval is not installed.
    """
    known = files()
    if known is None:
        return
    if name not in known:
        raise MeltpointError(f"lm-eval has no task {name!r}{did_you_mean(name, known)}")
    path = known[name]
    config = {"group": name} if path is None else read_config(path)
    # The pattern may find names that the file does not declare, in a text: the job checks them.
    if name == config.get("group") and not is_weighted_by_size(config):
        raise MeltpointError(
            f"{name} is a group without a mean over all its documents: name its tasks"
        )
    if name == config.get("task"):
        check_code(name, config, execute_code)


def read_config(path: Path) -> dict[str, Any]:
    """The keys of a task's file, and those of included files that the file itself lacks.

    Empty for a file that cannot be read.
    """
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader)
        included = config.pop("include", [])
        for other in [included] if isinstance(included, str) else included:
            config = {**read_config(path.parent / other), **config}
    # In the job lm-eval reads the file again, and reports the error.
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return {}
    return config


def check_code(name: str, config: Config, execute_code: bool) -> None:
    """Raises MeltpointError for a task that runs code without `execute_code`."""
    remote = (config.get("dataset_kwargs") or {}).get("trust_remote_code")
    if (config.get("unsafe_code") or remote) and not execute_code:
        raise MeltpointError(
            f"{name} runs {'remote code' if remote else 'code that a model writes'}: set "
            "execute_code: true to allow it"
        )


def is_weighted_by_size(config: Config) -> bool:
    """True for the configuration of a group whose mean is over all documents of its tasks."""
    means = config.get("aggregate_metric_list") or []
    means = [means] if isinstance(means, dict) else means
    return bool(means) and all(mean.get("weight_by_size", True) for mean in means)
