"""Whether the running environment holds what the study's methods need."""

import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from meltpoint import methods
from meltpoint.chain import DENSE, spell_chain
from meltpoint.checkpoints.description import FILE
from meltpoint.errors import MeltpointError
from meltpoint.study.model_sections import GgufModel, PackageModel
from meltpoint.workflow.job_specs.study import JobSpecs


def check_ahead(
    specs: JobSpecs, cell: Callable[..., str], checkpoint: Callable[[str, str], str]
) -> None:
    """Raises MeltpointError where what is still to be made needs a package that is not here.

    `cell` and `checkpoint` give the paths of a study's results.
    """
    ahead = map(methods.find, sorted(set(_methods_ahead(specs, cell, checkpoint))))
    needed = [(method.name, method.libraries, method.env) for method in ahead]
    needed += [(f"models.{name}", ("gguf",), "gguf") for name in _decoded_ahead(specs, checkpoint)]
    check((name, libraries, specs.envs / f"{env}.yaml") for name, libraries, env in needed)


def _decoded_ahead(specs: JobSpecs, checkpoint: Callable[[str, str], str]) -> Iterator[str]:
    """The models whose GGUF files are still to be decoded."""
    for name, model in specs.config.models.items():
        is_gguf = isinstance(model, GgufModel | PackageModel)
        if is_gguf and not Path(checkpoint(name, DENSE), FILE).exists():
            yield name


def _methods_ahead(specs: JobSpecs, cell, checkpoint) -> Iterator[str]:
    """The methods whose packages are needed for the checkpoints and cells that are not there."""
    for model, chain, evaluation in specs.study.all_cells:
        steps = specs.study.steps(chain)
        if not steps or Path(cell(model, chain, evaluation)).exists():
            continue
        for n, step in enumerate(steps, 1):
            if not Path(checkpoint(model, spell_chain(steps[:n])), FILE).exists():
                yield step.method
        if specs.runtime(chain, evaluation) == methods.find(steps[-1].method).env:
            yield steps[-1].method


def check(needed: Iterable[tuple[str, Iterable[str], Path]]) -> None:
    """Raises MeltpointError, with the line that installs them, where packages are missing.

    needed: of each method, or model, its name, its packages, and the environment file that pins them.
    """
    sentences, lines = [], []
    for method, libraries, env in needed:
        missing = [name for name in libraries if not installed(name)]
        if missing:
            pins = pinned(env)
            sentences.append(f"{method} needs {' and '.join(missing)}")
            lines += [pins[name] for name in missing]
    if sentences:
        raise MeltpointError(
            f"{', '.join(sentences)}, which this environment does not have: pip install "
            f"{' '.join(dict.fromkeys(lines))}  (or run with --use-conda)"
        )


def installed(name: str) -> bool:
    """True for a package that is installed here."""
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def pinned(env: Path) -> dict[str, str]:
    """The packages that pip installs in an environment, by name, as pip takes them."""
    parts = yaml.safe_load(env.read_text())["dependencies"]
    lines = next(part["pip"] for part in parts if isinstance(part, dict))
    # A line with an option of pip names no package.
    packages = (line for line in lines if not line.startswith("--"))
    return {re.split(r"[ =<>]", line)[0]: line.replace(" ", "") for line in packages}
