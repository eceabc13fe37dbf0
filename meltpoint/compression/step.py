"""One step of a chain: from a checkpoint to the next."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from meltpoint import methods
from meltpoint.chain import LEVEL_FORMS, Bits, Level, Pattern, Scheme, Sparsity, Step, parse_step
from meltpoint.checkpoints.formats import holds_gguf
from meltpoint.checkpoints.index import DESCRIPTION, describe
from meltpoint.checkpoints.io import (
    Reader,
    Writer,
    copy_companions,
    copy_missing,
    write_description,
)
from meltpoint.compression.blockwise import walk
from meltpoint.compute import Compute
from meltpoint.data.calibration import draw_from_documents, draw_from_stream
from meltpoint.data.corpora import check_vocabulary, read_tokens
from meltpoint.errors import NotApplicable, at
from meltpoint.files import whole_folder, write_json
from meltpoint.methods import Method
from meltpoint.model.decoded import compare, plain
from meltpoint.model.empty_model import build, decoder_blocks
from meltpoint.text import one_of


@dataclass(frozen=True)
class Context:
    """What a method that does not walk is handed beside its checkpoint, level and settings."""

    windows: torch.Tensor | None
    compute: Compute


class StepSpec(Protocol):
    """What `compress` reads of its job's spec."""

    chain: str
    step: str
    settings: dict[str, Any]


def compress(
    parent: Path, target: Path, spec: StepSpec, tokens: list[Path], compute: Compute
) -> None:
    """Makes the checkpoint `target` from `parent` by the spec's step.

    `tokens` are the files that the calibration is read from: none, the windows or the stream, or the
    documents and their offsets. Where the step does not apply, or the parent's did not, the
    checkpoint is a marker with the reason.
    """
    origin = describe(parent)
    step = parse_step(spec.step)
    facts = {
        "chain": spec.chain,
        "steps": [*origin["steps"], {"step": spec.step, "settings": spec.settings}],
        "parents": [*origin["parents"], origin.get("hash")],
    }
    requested = fraction(step.level, origin["sparsity"]["requested"])
    with whole_folder(target) as folder:
        try:
            if origin["status"] != "ok":
                raise NotApplicable(origin["reason"])
            check_level(step)
            check_reach(origin["sparsity"], step.level)
            layers = _write(parent, folder, step, spec, tokens, compute)
        except NotApplicable as reason:
            _mark(folder, str(reason), facts, requested)
        else:
            sparsity = {"requested": requested, **achieved(layers)}
            libraries = methods.find(step.method).libraries
            facts |= {"sparsity": sparsity, "layers": layers}
            write_description(folder, libraries, status="ok", **facts)


def _write(parent: Path, folder: Path, step: Step, spec: StepSpec, tokens, compute) -> dict:
    method = methods.find(step.method)
    if holds_gguf(parent):
        raise NotApplicable(f"{step.method} cannot read a GGUF file: put gguf last in the chain")
    windows = _windows(parent, step, spec, tokens, compute) if method.calibrated(step) else None
    compress_by = _walk if method.walks else _call
    return compress_by(method, parent, folder, step, windows, compute)


def _windows(parent: Path, step: Step, spec: StepSpec, tokens: list[Path], compute) -> torch.Tensor:
    key = f"calibrations.{spec.settings['calibration']}"
    drawn = at(key, calibration_windows, spec.settings["windows"], tokens)
    vocabulary = build(parent, compute.torch_dtype).config.get_text_config().vocab_size
    at(key, check_vocabulary, drawn, vocabulary, str(tokens[0]))
    return torch.from_numpy(drawn).long()


def _walk(method: Method, parent: Path, folder: Path, step: Step, windows, compute) -> dict:
    reader = Reader(parent, compute.torch_dtype, compute.torch_device)
    writer = Writer(folder, len(decoder_blocks(build(parent, compute.torch_dtype))[1]) + 1)
    earlier = describe(parent).get("layers")
    settings = method.settings(step)
    layers = walk(reader, writer, method, step.level, settings, windows, compute, earlier)
    writer.finish()
    copy_companions(parent, folder, compute.dtype)
    return layers


def _call(method: Method, parent: Path, folder: Path, step: Step, windows, compute) -> dict:
    """By a library, which gets a plain checkpoint to read."""
    with plain(parent, folder.with_name(f"{folder.name}.plain"), compute) as source:
        context = Context(windows, compute)
        made = method.module.compress(source, folder, step.level, method.settings(step), context)
        copy_missing(source, folder)
    return compare(parent, folder, compute) if made is None else made


def _mark(folder: Path, reason: str, facts: dict, requested: float | None) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    sparsity = {"requested": requested, "achieved": None}
    write_json(
        folder / DESCRIPTION,
        {"status": "not_applicable", "reason": reason, **facts, "sparsity": sparsity},
    )


def fraction(level: Level | None, before: float | None) -> float | None:
    """The sparsity that a level asks for; one that is no sparsity leaves what was asked before."""
    return level.fraction if isinstance(level, Sparsity | Pattern) else before


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


def check_reach(sparsity: dict, level: Level | None) -> None:
    """Raises NotApplicable where the model is sparser already than the level asks for.

    `sparsity` is what `achieved` says of it; zeros that came of rounding are zeros too.
    """
    rounded = sparsity.get("rounded", 0)
    zeros = sparsity["achieved"] + rounded
    if isinstance(level, Sparsity | Pattern) and zeros > level.fraction + 0.01:
        by_rounding = f" ({rounded:.3f} by rounding)" if rounded else ""
        raise NotApplicable(
            f"the model is {zeros:.3f} sparse already{by_rounding}, more than the "
            f"{level.fraction:g} that is asked for: in a chain a sparsity is the total after the step"
        )


def achieved(layers: dict[str, dict]) -> dict:
    """The sparsity of the linears taken together, and how many earlier zeros a step has filled.

    Zeros that quantising has made are not a sparsity that was achieved: `rounded` is their share.
    """
    size = sum(int(np.prod(layer["shape"])) for layer in layers.values())
    zeros, lost, rounded = (
        sum(layer.get(key, 0) for layer in layers.values())
        for key in ("zeros", "zeros_lost", "zeros_rounded")
    )
    others = {"zeros_lost": lost, "rounded": rounded / size}
    return {"achieved": (zeros - rounded) / size, **{k: v for k, v in others.items() if v}}


def calibration_windows(calibration: dict, tokens: list[Path]) -> np.ndarray:
    """The calibration's tokens, int32 [samples, length], given or drawn."""
    if "corpus" not in calibration:
        return read_tokens(tokens[0], dimensions=2)
    size = {key: calibration[key] for key in ("samples", "length", "seed")}
    if calibration["sampling"] == "stream":
        return draw_from_stream(read_tokens(tokens[0], dimensions=1), **size)
    return draw_from_documents(np.load(tokens[0]), np.load(tokens[1]), **size)
