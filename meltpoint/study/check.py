"""Checks a study's file: ``python -m meltpoint.study.check studies/mine.yaml``.

Snakemake reads the file first, and does not say which line of it is no YAML. This names the line.
"""

import sys
from pathlib import Path

import yaml

from meltpoint.errors import MeltpointError
from meltpoint.study import config
from meltpoint.study.data_files import check_documents
from meltpoint.study.resolved import Study


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


def main(path: Path) -> None:
    """Says whether a study can be planned; exits with one sentence if not."""
    try:
        study = Study(config.load(read_yaml(path), path.name), path.resolve().parent)
        check_documents(study)
    except MeltpointError as error:
        sys.exit(f"Error: {error}")
    print(f"{path}: a study")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
