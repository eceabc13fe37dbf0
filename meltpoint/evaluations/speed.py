"""How fast a checkpoint runs, in the program that it is meant for.

A GGUF file is timed in llama.cpp; what a quantization library has packed in transformers with that
library's kernels, as `from_pretrained` chooses them; all else in transformers. The cell's protocol says
which (`engine`, `kernels`), with the threads, the device that it ran on and whose peak memory is told:
speeds of two engines are not to be compared as if they were of one. One sequence at a time, as a single
user has it.
"""

import json
import statistics
import time
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import torch

from meltpoint.checkpoints.formats import GGUF, holds_gguf
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.cells import peak_memory, skipped, write_cell
from meltpoint.evaluations.engines import open_engine

UNITS = {
    "generated_tokens_per_second": "tokens/s",
    "prompt_tokens_per_second": "tokens/s",
    "load_seconds": "s",
    "peak_memory": "bytes",
}
# Whose the peak memory is: on a CPU everything counts that the process holds, also what it imports.
PROCESS, ALLOCATED, TAKEN = "process", "allocated by torch", "taken of the device's free memory"
# Of normal values: the standard error of a median over that of a mean.
MEDIAN_ERROR = 1.2533


@dataclass(frozen=True)
class Timing:
    """What was measured: seconds to load, of each run the tokens per second, and peak bytes.

    `device` is where it ran, `memory_of` what the bytes are of.
    """

    load: float
    prompt: list[float]
    generated: list[float]
    engine: str
    kernels: str
    device: str
    memory: int
    memory_of: str


def measure(
    checkpoint: Path, dense: Path | None, cell: Path, recipe: dict, compute: Compute
) -> None:
    """Writes a checkpoint's speed cell; `dense` is that of the dense model, None for itself.

    Raises MeltpointError where prompt and generated tokens do not fit the model's context.
    """
    start = time.perf_counter()
    if skipped(checkpoint, cell, recipe):
        return
    protocol = recipe["protocol"]
    check_context(checkpoint, recipe)
    size = protocol["prompt"], protocol["generated"], protocol["runs"]
    time_it = time_gguf if holds_gguf(checkpoint) else time_model
    timing = time_it(checkpoint, *size, compute)
    measured = summarise(timing)
    value, stderr = measured[protocol["speed"]]
    said = {key: getattr(timing, key) for key in ("engine", "kernels", "device", "memory_of")}
    write_cell(
        cell,
        checkpoint,
        {**recipe, "protocol": {**protocol, **said}},
        start,
        metric=protocol["speed"],
        unit=UNITS[protocol["speed"]],
        value=value,
        stderr=stderr,
        difference=difference(value, stderr, dense),
        measured={name: median for name, (median, _) in measured.items()},
    )


def check_context(checkpoint: Path, recipe: dict) -> None:
    """Raises MeltpointError where more tokens are asked for than the model has positions."""
    config = json.loads((checkpoint / "config.json").read_text())
    longest = config.get("max_position_embeddings")
    wanted = recipe["protocol"]["prompt"] + recipe["protocol"]["generated"]
    if longest is not None and wanted > longest:
        raise MeltpointError(
            f"evaluations.{recipe['cell']['evaluation']}: prompt and generated tokens are {wanted}, "
            f"the model has {longest} positions: ask for fewer"
        )


def summarise(timing: Timing) -> dict[str, tuple[float, float | None]]:
    """Each measurement's median with its standard error, where there is one."""
    return {
        "generated_tokens_per_second": median(timing.generated),
        "prompt_tokens_per_second": median(timing.prompt),
        "load_seconds": (timing.load, None),
        "peak_memory": (timing.memory, None),
    }


def median(values: list[float]) -> tuple[float, float]:
    """The median and its standard error, as of normal values."""
    error = MEDIAN_ERROR * statistics.stdev(values) / sqrt(len(values))
    return statistics.median(values), error


def difference(value: float, stderr: float | None, dense: Path | None) -> dict:
    """The difference to the dense model's cell: nothing is paired."""
    if dense is None:
        return {"value": 0.0, "stderr": None if stderr is None else 0.0}
    base = json.loads(dense.read_text())
    error = None if stderr is None else sqrt(stderr**2 + base["stderr"] ** 2)
    return {"value": value - base["value"], "stderr": error}


def time_gguf(checkpoint: Path, prompt: int, generated: int, runs: int, compute) -> Timing:
    from meltpoint.llamacpp import runtime

    found = runtime.speed(checkpoint / GGUF, prompt, generated, runs, compute)
    memory = (peak_memory(), PROCESS) if found.memory is None else (found.memory, TAKEN)
    rates = found.prompt, found.generate
    return Timing(
        found.load, *rates, "llama.cpp", "GGML, weights not repacked", found.device, *memory
    )


@torch.no_grad()
def time_model(checkpoint: Path, prompt: int, generated: int, runs: int, compute) -> Timing:
    """In transformers: the checkpoint as its users load it."""
    with open_engine(checkpoint, compute, kernels=True) as engine:
        model, loading, told = engine.model, engine.load_seconds, engine.provenance
        ids = torch.arange(prompt)[None] % engine.vocabulary
        ids = ids.to(compute.torch_device)
        pairs = [time_run(model, ids, generated, compute) for _ in range(runs + 1)][1:]
    read, made = (list(rates) for rates in zip(*pairs, strict=True))
    device = compute.torch_device
    memory_of = ALLOCATED if device.type == "cuda" else PROCESS
    said = told["engine"], told["kernels"], str(device), peak_memory(), memory_of
    return Timing(loading, read, made, *said)


def time_run(model, ids: torch.Tensor, generated: int, compute: Compute) -> tuple[float, float]:
    """Tokens per second of the prompt, and of as many greedy ones after it."""
    start = time.perf_counter()
    output = model(ids, use_cache=True, logits_to_keep=1)
    token = output.logits[:, -1:].argmax(-1)
    wait(compute)
    middle = time.perf_counter()
    for _ in range(generated):
        output = model(token, past_key_values=output.past_key_values, use_cache=True)
        token = output.logits[:, -1:].argmax(-1)
    wait(compute)
    end = time.perf_counter()
    return ids.shape[1] / (middle - start), generated / (end - middle)


def wait(compute: Compute) -> None:
    if compute.torch_device.type == "cuda":
        torch.cuda.synchronize(compute.torch_device)
