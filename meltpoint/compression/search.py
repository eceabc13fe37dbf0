"""A method's search: the part that does not depend on the level, computed once and kept in a file.

The file is JSON or, for a method that declares `search_format = "npz"`, a NumPy archive. It holds the
result of the search, or the reason why the search does not apply.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from meltpoint import methods
from meltpoint.chain import parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import holds_gguf
from meltpoint.compression.calibration_windows import read_windows
from meltpoint.compression.resume import resume_folder
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.files import spell_numbers, whole_file, write_json
from meltpoint.methods import Method
from meltpoint.methods.contract import Context
from meltpoint.model.decoded import plain

# Member of an archive that holds, as JSON, the values that are no arrays.
VALUES = "values.json"


class SearchSpec(Protocol):
    """The fields of its job spec that `search` reads."""

    search: str
    settings: dict[str, Any]

    def json(self) -> str:
        """Canonical JSON of the whole spec."""


def search(
    parent: Path,
    target: Path,
    spec: SearchSpec,
    tokens: list[Path],
    compute: Compute,
    validation: Sequence[Path] = (),
    earlier: Path | None = None,
) -> None:
    """Runs a method's search on the checkpoint `parent` and writes its result to `target`.

    `tokens` are the files that the calibration is read from, `validation` those of the calibration in
    the setting `validation_calibration`. `earlier` is the file of another search that this one starts
    from. If the search or the parent's step does not apply, the file holds the reason.
    """
    step = parse_step(spec.search)
    method = methods.find(step.method)
    try:
        found = read_result(earlier) if earlier else None
        texts = tokens, list(validation)
        result = _search(method, parent, target, spec, texts, found, compute)
    except NotApplicable as reason:
        write_result(target, {}, str(reason))
    else:
        write_result(target, result)


def _search(
    method: Method,
    parent: Path,
    target: Path,
    spec: SearchSpec,
    tokens: tuple[list[Path], list[Path]],
    earlier: dict[str, Any] | None,
    compute: Compute,
) -> dict[str, Any]:
    check_readable(parent, method)
    settings, windows, texts = method.settings(parse_step(spec.search)), None, {}
    if settings.calibrated:
        windows, texts["lengths"] = read_windows(parent, spec.settings, tokens[0], compute)
    if second := spec.settings.get("validation_calibration"):
        texts["validation"], texts["validation_lengths"] = read_windows(
            parent, second, tokens[1], compute
        )
    place = target.with_name(f".{target.name}.plain")
    with resume_folder(target, spec.json()) as resume, plain(parent, place, compute) as source:
        context = Context(windows, compute, search=earlier, resume=resume, **texts)
        return method.module.search(source, settings, context)


def check_readable(parent: Path, method: Method) -> None:
    """Raises NotApplicable, with the reason, for a checkpoint that the method cannot start from."""
    origin = Description.read(parent)
    if origin.status != "ok":
        raise NotApplicable(origin.reason)
    # Checked here for all methods whose library builds a model from its config.
    if method.facts.needs_regular_shapes:
        origin.require_regular(method.name)
    if holds_gguf(parent):
        raise NotApplicable(f"{method.name} cannot read a GGUF file: put gguf last in the chain")


def write_result(target: Path, result: Mapping[str, Any], reason: str | None = None) -> None:
    """Writes the result of a search, or the reason why it does not apply, as JSON or npz by suffix.

    NaN and infinities outside arrays become strings. Raises MeltpointError for an array in JSON.
    """
    arrays = {
        key: _array(x) for key, x in result.items() if isinstance(x, np.ndarray | torch.Tensor)
    }
    values = {key: value for key, value in result.items() if key not in arrays}
    content = {"status": "not_applicable" if reason else "ok", "reason": reason, "values": values}
    if target.suffix == ".npz":
        text = json.dumps(spell_numbers(content), sort_keys=True).encode()
        with whole_file(target) as partial:
            np.savez(partial, **arrays, **{VALUES: np.frombuffer(text, dtype=np.uint8)})
    elif arrays:
        raise MeltpointError(
            f"{target}: the search returned the array {next(iter(arrays))!r}, which JSON cannot hold: "
            'the method declares search_format = "npz"'
        )
    else:
        write_json(target, content)


def _array(value: np.ndarray | torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def read_result(path: Path) -> dict[str, Any]:
    """Result of a search, by name; its arrays are NumPy's.

    Raises NotApplicable, with the reason, where there was nothing to search, and MeltpointError for a
    file that is truncated or broken.
    """
    try:
        content, arrays = _read(path)
        status, reason, values = content["status"], content["reason"], content["values"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise MeltpointError(
            f"{path} is truncated or broken: delete it and run the same command again"
        ) from None
    if status != "ok":
        raise NotApplicable(reason)
    return {**values, **arrays}


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    if path.suffix != ".npz":
        return json.loads(path.read_text()), {}
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    return json.loads(arrays.pop(VALUES).tobytes()), arrays
