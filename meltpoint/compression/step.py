"""One step of a chain: from a checkpoint to the next."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig

from meltpoint import methods
from meltpoint.chain import LEVEL_FORMS, Bits, Scheme, Step, parse_step
from meltpoint.checkpoints.axes import reached
from meltpoint.checkpoints.description import Description, hash_weights, versions
from meltpoint.checkpoints.formats import holds_gguf
from meltpoint.checkpoints.io import Reader, Writer, copy_companions, copy_missing
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.shapes import Shapes
from meltpoint.compression import axes
from meltpoint.compression.blockwise import Outcome, walk
from meltpoint.compute import Compute
from meltpoint.data.calibration import draw_from_documents, draw_from_stream
from meltpoint.data.corpora import check_vocabulary, read_tokens
from meltpoint.errors import NotApplicable, at
from meltpoint.files import whole_folder
from meltpoint.methods import Method
from meltpoint.methods.contract import Context
from meltpoint.model.decoded import compare, plain
from meltpoint.model.empty_model import build
from meltpoint.model.regular import config_of
from meltpoint.text import one_of


def compress(
    parent: Path, target: Path, recipe: dict, tokens: list[Path], compute: Compute
) -> None:
    """Makes the checkpoint `target` from `parent` by the recipe's step.

    `tokens` are the files that the calibration is read from: none, the windows or the stream, or the
    documents and their offsets. Where the step does not apply, or the parent's did not, the
    checkpoint is a marker with the reason.
    """
    origin, step = Description.read(parent), parse_step(recipe["step"])
    method = methods.find(step.method)
    facts = {
        "chain": recipe["chain"],
        "steps": [*origin.steps, {"step": recipe["step"], "settings": recipe["settings"]}],
        "parents": [*origin.parents, origin.hash],
        "seed": recipe["settings"].get("seed"),
        "requested": axes.requested(
            method.kind, step.level, method.settings(step), origin.requested
        ),
    }
    with whole_folder(target) as folder:
        try:
            if origin.status != "ok":
                raise NotApplicable(origin.reason)
            check_level(step)
            axes.check_reach(origin, facts["requested"], method.kind)
            # The one gate for libraries that build a model from its config.
            if method.facts.needs_regular_shapes:
                origin.require_regular(method.name)
            linears, shapes = _write(parent, folder, step, recipe, tokens, compute)
        except NotApplicable as reason:
            _clear(folder)
            Description(status="not_applicable", reason=str(reason), **facts).write(folder)
        else:
            dense, itemsize = origin.dense_parameters, compute.torch_dtype.itemsize
            Description(
                **facts,
                hash=hash_weights(folder),
                versions=versions(method.libraries),
                **reached(linears, shapes.parameters, dense, itemsize),
                dense_parameters=dense,
                shapes=shapes,
                linears=linears,
            ).write(folder)


def _write(
    parent: Path, folder: Path, step: Step, recipe: dict, tokens, compute
) -> tuple[dict[str, Linear], Shapes]:
    method = methods.find(step.method)
    if holds_gguf(parent):
        raise NotApplicable(f"{step.method} cannot read a GGUF file: put gguf last in the chain")
    windows = _windows(parent, step, recipe, tokens, compute) if method.calibrated(step) else None
    compress_by = _walk if method.is_blockwise else _call
    return compress_by(method, parent, folder, step, windows, compute)


def _windows(parent: Path, step: Step, recipe: dict, tokens: list[Path], compute) -> torch.Tensor:
    key = f"calibrations.{recipe['settings']['calibration']}"
    drawn = at(key, calibration_windows, recipe["settings"]["windows"], tokens)
    vocabulary = build(parent, compute.torch_dtype).config.get_text_config().vocab_size
    at(key, check_vocabulary, drawn, vocabulary, str(tokens[0]))
    return torch.from_numpy(drawn).long()


def _walk(
    method: Method, parent: Path, folder: Path, step: Step, windows, compute
) -> tuple[dict[str, Linear], Shapes]:
    reader = Reader(parent, compute.torch_dtype, compute.torch_device)
    writer, origin = Writer(folder), Description.read(parent)
    settings = method.settings(step)
    outcome = walk(reader, writer, method, step.level, settings, windows, compute, origin.linears)
    writer.finish()
    changes, irregular = _config(parent, origin.shapes, outcome)
    copy_companions(parent, folder, compute.dtype, changes)
    return outcome.linears, outcome.shapes.model_copy(update={"irregular": irregular})


def _config(parent: Path, before: Shapes, outcome: Outcome) -> tuple[dict, str | None]:
    """Keys of the config that change with the shapes, and what no config can say of them."""
    if outcome.shapes == before.model_copy(update={"irregular": None}) and not outcome.untied:
        return {}, before.irregular
    config = AutoConfig.from_pretrained(parent, trust_remote_code=False, local_files_only=True)
    stored = json.loads((parent / "config.json").read_text())
    return config_of(config, stored, outcome.shapes, outcome.kept, outcome.untied)


def _call(
    method: Method, parent: Path, folder: Path, step: Step, windows, compute
) -> tuple[dict[str, Linear], Shapes]:
    """By a library, which gets a plain checkpoint to read and leaves shapes as they are."""
    with plain(parent, folder.with_name(f"{folder.name}.plain"), compute) as source:
        context = Context(windows, compute)
        linears = method.module.compress(source, folder, step.level, method.settings(step), context)
        copy_missing(source, folder)
    if linears is None:
        linears = compare(parent, folder, compute)
    return linears, Description.read(parent).shapes


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def check_level(step: Step) -> None:
    """Raises NotApplicable for a level that others of the method's kind take, it does not."""
    method = methods.find(step.method)
    if method.levels and type(step.level) not in method.levels:
        taken = " or ".join(LEVEL_FORMS[form] for form in method.levels)
        raise NotApplicable(f"{step.method} takes {taken}, not {step.level}")
    if isinstance(step.level, Bits) and step.level.bits not in method.bits:
        raise NotApplicable(f"{step.method} takes {method.widths} bits, not {step.level.bits}")
    if isinstance(step.level, Scheme) and step.level.name not in method.schemes:
        raise NotApplicable(f"{step.method} takes {one_of(method.schemes)}, not {step.level}")


def calibration_windows(recipe: dict, tokens: list[Path]) -> np.ndarray:
    """The calibration's tokens, int32 [samples, length], given or drawn."""
    if "corpus" not in recipe:
        return read_tokens(tokens[0], dimensions=2)
    size = {key: recipe[key] for key in ("samples", "length", "seed")}
    if recipe["sampling"] == "stream":
        return draw_from_stream(read_tokens(tokens[0], dimensions=1), **size)
    return draw_from_documents(np.load(tokens[0]), np.load(tokens[1]), **size)
