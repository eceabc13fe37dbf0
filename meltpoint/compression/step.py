"""One step of a chain: makes the next checkpoint from a checkpoint."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoConfig

from meltpoint import methods
from meltpoint.chain import LEVEL_FORMS, Bits, Scheme, Sparsity, Step, parse_step
from meltpoint.checkpoints.adapter import matrices_of
from meltpoint.checkpoints.axes import reached
from meltpoint.checkpoints.description import Description, hash_weights, versions
from meltpoint.checkpoints.formats import format_of, holds_gguf
from meltpoint.checkpoints.index import index
from meltpoint.checkpoints.io import Reader, Writer, copy_companions, copy_missing
from meltpoint.checkpoints.linears import Linear
from meltpoint.checkpoints.shapes import Shapes
from meltpoint.compression import axes
from meltpoint.compression.block_gradients import block_gradients
from meltpoint.compression.blockwise import walk
from meltpoint.compression.calibration_windows import read_windows, warnings_of
from meltpoint.compression.resume import resume_folder
from meltpoint.compression.search import check_readable, read_result, write_result
from meltpoint.compression.training_texts import read_texts
from meltpoint.compression.walk_job import Job, Outcome
from meltpoint.compression.walk_state import WalkStates, origin_of
from meltpoint.compute import Compute
from meltpoint.errors import NotApplicable
from meltpoint.files import whole_folder, write_json
from meltpoint.methods import Method
from meltpoint.methods.contract import Context
from meltpoint.model import empty_model
from meltpoint.model.as_linears import views
from meltpoint.model.decoded import compare, plain
from meltpoint.model.regular import config_of
from meltpoint.model.stored_layout import stored_keys
from meltpoint.text import one_of

# Folder of a checkpoint with its method's analysis of the step. The next step does not copy it.
ANALYSIS = "analysis"
# Fields of a round's description that the method's next round reads.
CARRIED = ("linears", "other_matrices", "stored_as", "shapes")


class StepSpec(Protocol):
    """The fields of its job spec that `compress` reads."""

    chain: str
    step: str
    settings: dict[str, Any]

    def json(self) -> str:
        """Canonical JSON of the whole spec."""


def compress(
    parent: Path,
    target: Path,
    spec: StepSpec,
    tokens: list[Path],
    compute: Compute,
    search: Path | None = None,
    texts: Mapping[str, Sequence[Path]] | None = None,
) -> None:
    """Makes the checkpoint `target` from `parent` by the spec's step.

    `tokens` are the files of the calibration: [] for a step without one, the file of windows or of the
    token stream, or the files of documents and their offsets. `search` is the file of the method's
    search, if it has one. `texts` are the files of the texts that the step is trained on, by their use
    (`meltpoint.data.training_text`). If the step or the parent's step does not apply, the checkpoint
    holds only a description with the reason.
    """
    origin, step = Description.read(parent), parse_step(spec.step)
    method = methods.find(step.method)
    facts = {
        "chain": spec.chain,
        "steps": [*origin.steps, {"step": spec.step, "settings": spec.settings}],
        "parents": [*origin.parents, origin.hash],
        "seed": _seed(spec.settings),
        "requested": axes.requested(
            method.kind, step.level, method.settings(step), origin.requested
        ),
        "base_quantization": origin.base_quantization,
    }
    with whole_folder(target) as folder, resume_folder(target, spec.json()) as resume:
        try:
            if origin.status == "ok":
                check_level(step)
                axes.check_reach(origin, facts["requested"], method.kind)
            check_readable(parent, method)
            windows, lengths = None, None
            if method.calibrated(step):
                windows, lengths = read_windows(parent, spec.settings, tokens, compute)
            found = read_result(search) if search else None
            context = Context(
                windows,
                compute,
                lengths=lengths,
                search=found,
                resume=resume,
                texts=read_texts(parent, texts or {}),
                parent=parent,
            )
            compress_by = _walk_in_rounds if method.is_blockwise else _call
            facts |= compress_by(method, parent, folder, step, context)
        except NotApplicable as reason:
            _clear(folder)
            Description(status="not_applicable", reason=str(reason), **facts).write(folder)
        else:
            dense, itemsize = origin.dense_parameters, compute.torch_dtype.itemsize
            facts["adapter"] = matrices_of(folder)
            matrices = facts["linears"] | facts["other_matrices"] | facts["adapter"]
            parameters = facts["shapes"].parameters + sum(
                matrix.count for matrix in facts["adapter"].values()
            )
            if smallest := facts.pop("smallest", None):
                facts["steps"][-1]["smallest"] = smallest
            said = [*origin.warnings, *warnings_of(parent, windows), *facts.pop("warnings", ())]
            counts = reached(matrices, parameters, dense, itemsize)
            said += axes.warnings(origin, counts["achieved"], spec.step)
            if method.kind == "quantization" and origin.base_quantization:
                said.append(origin.base_quantization.warning())
            Description(
                **facts,
                warnings=list(dict.fromkeys(said)),
                hash=hash_weights(folder),
                versions=versions(method.libraries),
                **counts,
                dense_parameters=dense,
            ).write(folder)


def _seed(settings: dict) -> int | None:
    """The step's own seed, else that of its calibration; None for a step without random draws."""
    seed = settings.get("seed")
    return (settings.get("windows") or {}).get("seed") if seed is None else seed


def _walk_in_rounds(
    method: Method, parent: Path, folder: Path, step: Step, context: Context
) -> dict[str, Any]:
    """One walk for each round of the method, each from the checkpoint of the round before.

    Returns the facts about the last one's checkpoint.
    """
    settings, memory = method.settings(step), {}
    count = method.rounds(settings)
    if count == 1:
        return _walk(method, parent, folder, step, context, memory)
    logging.info("%s in %d rounds: if this job is killed, it begins again", method.name, count)
    scratch = folder.with_name(f"{folder.name}.rounds")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        # Only the searches read the windows. Progress is not kept: a state covers a single round.
        state = replace(context, windows=None, resume=None)
        for done in range(1, count):
            place = scratch / str(done)
            place.mkdir(parents=True)
            part = replace(step, level=Sparsity(step.level.fraction * done / count))
            found = _walk(method, parent, place, part, state, memory)
            changes = {key: found[key] for key in CARRIED}
            Description.read(parent).model_copy(update=changes).write(place)
            shutil.rmtree(scratch / str(done - 1), ignore_errors=True)
            parent, result = place, scratch / f"search.{method.facts.search_format}"
            write_result(result, method.module.search(place, settings, context))
            state = replace(state, search=read_result(result))
        return _walk(method, parent, folder, step, state, memory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _walk(
    method: Method,
    parent: Path,
    folder: Path,
    step: Step,
    context: Context,
    memory: dict[str, Any],
) -> dict[str, Any]:
    """Takes a step block by block; returns fields of the new checkpoint's description."""
    compute, settings = context.compute, method.settings(step)
    reader = Reader(parent, compute.torch_dtype, compute.torch_device)
    writer, origin = Writer(folder), Description.read(parent)
    names, windows = method.gradients(settings), context.windows
    scratch, states, reads = folder.with_name(f"{folder.name}.gradients"), None, None
    if context.resume and compute.resume is not False:
        reads, scratch = origin_of(parent, windows, compute), context.resume / "gradients"
        states = WalkStates(context.resume / "walk", compute, reads)
    with block_gradients(reader, windows, compute, names, scratch, reads) as gradients:
        parameters = origin.dense_parameters, origin.shapes.parameters
        found = context.search
        job = Job(method, settings, origin.linears_as_read, found, gradients, parameters, memory)
        outcome = walk(reader, writer, job, step.level, windows, compute, states)
    writer.finish()
    _write_analysis(method, job.memory, folder)
    changes, irregular = _config(parent, origin.shapes, outcome)
    copy_companions(parent, folder, compute.dtype, changes)
    return {
        "linears": outcome.linears,
        "other_matrices": outcome.other_matrices,
        "stored_as": outcome.stored_as,
        "warnings": outcome.warnings,
        "smallest": job.smallest,
        "shapes": outcome.shapes.model_copy(update={"irregular": irregular}),
    }


def _write_analysis(method: Method, memory: dict[str, Any], folder: Path) -> None:
    """Writes the files of the method's `analysis` into the checkpoint's folder `ANALYSIS`."""
    if not hasattr(method.module, "analysis"):
        return
    place = folder / ANALYSIS
    place.mkdir()
    for name, content in method.module.analysis(memory).items():
        if name.endswith(".json"):
            write_json(place / name, content)
        else:
            (place / name).write_text(content)


def _config(parent: Path, before: Shapes, outcome: Outcome) -> tuple[dict, str | None]:
    """Keys of the config that change with the shapes, and the first shape no config can express."""
    if outcome.shapes == before.model_copy(update={"irregular": None}) and not outcome.untied:
        return {}, before.irregular
    config = AutoConfig.from_pretrained(parent, trust_remote_code=False, local_files_only=True)
    stored = json.loads((parent / "config.json").read_text())
    return config_of(config, stored, outcome.shapes, outcome.kept, outcome.untied)


def _call(
    method: Method, parent: Path, folder: Path, step: Step, context: Context
) -> dict[str, Any]:
    """Takes a step by the method's `compress`, on a plain checkpoint; shapes stay as they are.

    Returns fields of the new checkpoint's description.
    """
    compute, origin = context.compute, Description.read(parent)
    check_plain_linears(parent, method.name)
    if not method.facts.resumes:
        logging.info("%s sees the whole model: if this job is killed, it begins again", method.name)
    with plain(parent, folder.with_name(f"{folder.name}.plain"), compute) as source:
        linears = method.module.compress(source, folder, step.level, method.settings(step), context)
        copy_missing(source, folder)
    facts = {} if linears is None else {"stored_as": stored_as(folder, linears)}
    if linears is None:
        linears = compare(parent, folder, compute)
    return {
        **facts,
        "linears": linears,
        "other_matrices": origin.other_matrices,
        "shapes": origin.shapes,
        "warnings": axes.left_grids(method.kind, origin.linears_as_read, linears, str(step)),
    }


def stored_as(folder: Path, linears: Mapping[str, Linear]) -> dict[str, list[str]]:
    """Keys of the tensors of linears that are stored under other names; {} for a packed checkpoint."""
    if holds_gguf(folder) or format_of(folder) is not None:
        return {}
    return stored_keys(empty_model.build(folder, torch.float32), index(folder), linears)


def check_plain_linears(parent: Path, method: str) -> None:
    """Raises NotApplicable for a model whose matrices are no `nn.Linear` when the library loads it."""
    model = empty_model.build(parent, torch.float32)
    _, blocks = empty_model.decoder_blocks(model)
    if found := views(blocks[0]):
        name = next(iter(found.values())).source
        raise NotApplicable(
            f"{method} is done by a library that compresses linears alone; in a "
            f"{type(blocks[0]).__name__} {name} is none"
        )


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def check_level(step: Step) -> None:
    """Raises NotApplicable for a level that the method does not take but its kind does."""
    method = methods.find(step.method)
    if method.levels and type(step.level) not in method.levels:
        taken = " or ".join(LEVEL_FORMS[form] for form in method.levels)
        raise NotApplicable(f"{step.method} takes {taken}, not {step.level}")
    if isinstance(step.level, Bits) and step.level.bits not in method.bits:
        raise NotApplicable(f"{step.method} takes {method.widths} bits, not {step.level.bits}")
    if isinstance(step.level, Scheme) and step.level.name not in method.schemes:
        raise NotApplicable(f"{step.method} takes {one_of(method.schemes)}, not {step.level}")
