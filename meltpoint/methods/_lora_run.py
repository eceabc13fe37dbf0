"""A fine-tuning from a checkpoint to the next: reading, training, merging, writing."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from meltpoint.checkpoints.adapter import write_adapter
from meltpoint.checkpoints.description import COST, Description
from meltpoint.checkpoints.index import INDEX
from meltpoint.checkpoints.io import NOT_CARRIED_ON, Writer, copy_companions
from meltpoint.checkpoints.linears import Linear, LinearBefore, describe
from meltpoint.compute import peak_memory
from meltpoint.files import write_json
from meltpoint.methods import _lora_examples as data
from meltpoint.methods import _lora_plan as plan
from meltpoint.methods._lora_adapters import Adapters, Weights
from meltpoint.methods._lora_settings import Settings
from meltpoint.methods._lora_training import train
from meltpoint.methods.contract import Context
from meltpoint.model.decoded import Parts
from meltpoint.model.load import load
from meltpoint.model.stored_layout import as_stored
from meltpoint.timing import phase


def finetune(source: Path, target: Path, settings: Settings, context: Context) -> dict[str, Linear]:
    """Trains the plain checkpoint `source` and writes `target`; returns facts about its linears."""
    compute, description = context.compute, Description.read(context.parent)
    plan.check_base(description, settings)
    ranks = plan.ranks_of(description, settings)
    plan.check_memory(description, ranks, settings, compute)
    examples, validation = data.split(settings, context.texts)
    steps = data.steps_of(settings, len(examples))
    ordered = data.Examples(examples, data.order_of(settings, len(examples), steps))
    with phase("load"):
        model = load(source, plan.held_dtype(settings, compute), compute.torch_device)
    model.config.use_cache = False
    with _seeded(settings.seed), _place(context.resume) as folder:
        masks = _masks(model, description, ranks) if settings.keep_zeros else {}
        trained = (
            Adapters(model, ranks, masks, settings)
            if settings.rank
            else Weights(model, ranks, masks)
        )
        checked = data.Examples(validation) if validation else None
        history = train(model, trained.parameters(), ordered, checked, settings, compute, folder)
    if settings.merge:
        linears = _write(source, target, trained, description, context)
    else:
        linears = _keep_adapter(target, trained, description, context)
    _write_records(target, history, context)
    return linears


def _masks(model: torch.nn.Module, description: Description, names) -> dict[str, torch.Tensor]:
    """Masks, by name, of the weights that may change in linears that earlier steps have pruned."""
    return {
        name: model.get_submodule(name).weight != 0
        for name in names
        if is_pruned(description.linears_as_read[name])
    }


def is_pruned(linear: Linear) -> bool:
    """True for a linear with zeros that rounding did not make."""
    return linear.zeros > linear.zeros_rounded


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Context with seeded random numbers and deterministic sums; restores torch's state afterwards."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warns)


@contextlib.contextmanager
def _place(resume: Path | None) -> Iterator[Path]:
    """Context with the folder of the training's states: `resume`, or a temporary folder."""
    if resume is not None:
        resume.mkdir(exist_ok=True)
        yield resume
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _write(
    source: Path,
    target: Path,
    trained: Adapters | Weights,
    description: Description,
    context: Context,
) -> dict[str, Linear]:
    """Writes the checkpoint block by block, with the trained weights in their places."""
    parts, writer, facts = Parts(source, context.compute), Writer(target), {}
    linears = set(parts.linears)
    for names in (parts.others, *parts.blocks):
        tensors = parts.reader.read(names)
        for key, before in tensors.items():
            name = key.removesuffix(".weight")
            if name in linears and key.endswith(".weight"):
                tensors[key] = trained.weight(name, before)
                facts[name] = _facts(before, tensors[key], description.linears_as_read.get(name))
        writer.write(as_stored(parts.model, parts.model, "", tensors))
    writer.finish()
    copy_companions(source, target, context.compute.dtype)
    return {name: facts[name] for name in parts.linears}


def _keep_adapter(
    target: Path, trained: Adapters, description: Description, context: Context
) -> dict[str, Linear]:
    """Copies the stored checkpoint that the step started from, and writes the adapter beside it."""
    for file in sorted(context.parent.iterdir()):
        if file.is_file() and file.name not in NOT_CARRIED_ON - {INDEX}:
            shutil.copyfile(file, target / file.name)
    dtype = context.compute.torch_dtype
    tensors = {
        name: parameter.detach().to(dtype).cpu().contiguous()
        for name, parameter in trained.parameters().items()
    }
    write_adapter(target, tensors, trained.config.to_dict(), trained.masked)
    return description.linears


def _facts(before: torch.Tensor, after: torch.Tensor, earlier: Linear | None) -> Linear:
    facts = describe(after, LinearBefore(before, earlier), None)
    if earlier is not None and not is_pruned(earlier):
        # Zeros that rounding made do not count as lost, as no step pruned them.
        return facts.model_copy(update={"zeros_lost": 0})
    return facts


def _write_records(target: Path, history: Mapping, context: Context) -> None:
    """Writes the losses, and in another file the cost of the training, which differs between runs."""
    place = target / "analysis"
    place.mkdir()
    write_json(place / "training.json", {k: v for k, v in history.items() if k != "seconds"})
    cost = {
        "seconds": round(history["seconds"], 3),
        "peak_memory": peak_memory(),
        "device": str(context.compute.torch_device),
    }
    write_json(target / COST, {"training": cost})
