"""Names and settings of lm-eval's tasks, read from the files of its package.

Studies are planned with it. Importing lm-eval takes seconds, and its own index, which parses all of
its 14,000 files, takes seconds more. Here names are found by a pattern, and only the files of the
tasks that a study names are parsed.
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

# A file that others include need not end in .yaml.
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
    """Reads a task's file; functions that it names stay their names."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@cache
def files() -> Mapping[str, Path | None] | None:
    """Names of lm-eval's tasks, groups and tags, each with the file that declares it.

    A tag has no file of its own. None where lm-eval is not installed: its jobs run elsewhere.
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
    """Each name in a file, and whether the file may be the one that declares it."""
    for match in DECLARATION.finditer(text):
        for name in WORD.findall(match["value"]):
            yield name, match["key"] != "tag" and not match["indent"]
        for name in WORD.findall(match["items"]):
            yield name, False


def check_name(name: str, execute_code: bool) -> None:
    """Raises MeltpointError for a name that lm-eval has not, or a task that may not be measured so."""
    known = files()
    if known is None:
        return
    if name not in known:
        raise MeltpointError(f"lm-eval has no task {name!r}{did_you_mean(name, known)}")
    path = known[name]
    config = {"group": name} if path is None else read_config(path)
    # Another name may be found by the pattern in a text: it is left to the job.
    if name == config.get("group") and not is_weighted_by_size(config):
        raise MeltpointError(
            f"{name} is a group without a mean over all its documents: name its tasks"
        )
    if name == config.get("task"):
        check_code(name, config, execute_code)


def read_config(path: Path) -> dict[str, Any]:
    """A task's file with those that it includes, whose keys count where it has none."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader)
        included = config.pop("include", [])
        for other in [included] if isinstance(included, str) else included:
            config = {**read_config(path.parent / other), **config}
    # The job reads it again by lm-eval, and says what is wrong.
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
    """True for a group whose mean is one over all documents of its tasks."""
    means = config.get("aggregate_metric_list") or []
    means = [means] if isinstance(means, dict) else means
    return bool(means) and all(mean.get("weight_by_size", True) for mean in means)
