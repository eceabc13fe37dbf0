"""Speed: how fast a checkpoint runs, in the program that it is meant for.

A GGUF file is timed in llama.cpp, and everything else in transformers. A checkpoint that a
quantization library has packed runs with that library's kernels, as `from_pretrained` chooses them.
The cell's protocol names the `engine`, the `kernels`, the threads, the device, and what the peak
memory counts. Do not compare speeds of two engines as if they were of one. One sequence runs at a
time, as for a single user.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import GGUF, holds_gguf
from meltpoint.compute import Compute, peak_memory
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.contract import (
    Estimate,
    EvaluationSettings,
    Inputs,
    Measurement,
    ScoreSpec,
)
from meltpoint.evaluations.engines import open_engine
from meltpoint.lazy_import import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

example = {"speed": "generation", "prompt": 512, "generated": 128}
opens_engine = False
own_kernels = True
alone = True
compute = ("dtype", "threads", "device")
scores = (
    ScoreSpec("generated_tokens_per_second", "tokens/s", "higher", "generated tokens/s"),
    ScoreSpec("prompt_tokens_per_second", "tokens/s", "higher", "prompt tokens/s"),
    ScoreSpec("load_seconds", "s", "lower", "load time", "s"),
    ScoreSpec("peak_memory", "bytes", "lower", "peak memory", "bytes"),
)
old_values = {score.name: {"speed": "generation", "main": score.name} for score in scores}

# Meanings of the peak memory. On a CPU it is that of the whole process, imported libraries included.
PROCESS, ALLOCATED, TAKEN = "process", "allocated by torch", "taken of the device's free memory"
# Standard error of a median over that of a mean, for normally distributed values.
MEDIAN_ERROR = 1.2533


@dataclass(frozen=True)
class Timing:
    """Result of a timing: seconds to load, tokens per second of each run, peak memory in bytes.

    `device` is the device that ran the model, `memory_of` the meaning of the peak memory.
    """

    load: float
    prompt: list[float]
    generated: list[float]
    engine: str
    kernels: str
    device: str
    memory: int
    memory_of: str


class Settings(EvaluationSettings):
    """How fast a checkpoint runs in the program that it is meant for, one sequence at a time."""

    speed: Literal["generation"] = Field(
        description="What is timed: `generation` of text after a prompt."
    )
    prompt: int = Field(512, ge=1, description="Number of tokens that are read at once.")
    generated: int = Field(
        128, ge=1, description="Number of tokens that are then generated one by one."
    )
    runs: int = Field(
        5, ge=2, description="Number of runs after one to warm up. The median of them is taken."
    )


def measure(_engine: None, inputs: Inputs, settings: Settings) -> Measurement:
    """Medians of the runs with their standard errors, load time and peak memory.

    Raises MeltpointError if prompt and generated tokens do not fit the model's context.
    """
    check_context(inputs, settings)
    time_it = time_gguf if holds_gguf(inputs.checkpoint) else time_model
    size = settings.prompt, settings.generated, settings.runs
    timing = time_it(inputs.checkpoint, *size, inputs.compute)
    protocol = {key: getattr(timing, key) for key in ("engine", "kernels", "device", "memory_of")}
    warnings = warnings_of(Description.read(inputs.checkpoint))
    return Measurement(
        summarise(timing), protocol=protocol, device=timing.device, warnings=warnings
    )


def warnings_of(description: Description) -> list[str]:
    """A list of one sentence: zeros are multiplied like other weights; empty without zeros."""
    if not description.achieved.zeros:
        return []
    return [
        f"{description.achieved.zeros:.0%} of the linears' weights are zeros, which no kernel skips "
        "here: it runs like a dense model of its shapes"
    ]


def check_context(inputs: Inputs, settings: Settings) -> None:
    """Raises MeltpointError if the settings ask for more tokens than the model has positions."""
    config = json.loads((inputs.checkpoint / "config.json").read_text())
    longest = config.get("max_position_embeddings")
    wanted = settings.prompt + settings.generated
    if longest is not None and wanted > longest:
        raise MeltpointError(
            f"{inputs.key}: prompt and generated tokens are {wanted}, the model has {longest} "
            "positions: ask for fewer"
        )


def summarise(timing: Timing) -> dict[str, Estimate]:
    """Scores of a timing by name: medians with standard errors, and two exact numbers without."""
    return {
        "generated_tokens_per_second": median(timing.generated),
        "prompt_tokens_per_second": median(timing.prompt),
        "load_seconds": Estimate(timing.load),
        "peak_memory": Estimate(timing.memory),
    }


def median(values: list[float]) -> Estimate:
    """The median of values with its standard error, if they are normally distributed."""
    error = MEDIAN_ERROR * statistics.stdev(values) / sqrt(len(values))
    return Estimate(statistics.median(values), error)


def time_gguf(checkpoint: Path, prompt: int, generated: int, runs: int, compute: Compute) -> Timing:
    """Timing of llama.cpp on the checkpoint's GGUF file."""
    from meltpoint.llamacpp import runtime

    speed = runtime.speed(checkpoint / GGUF, prompt, generated, runs, compute)
    memory = (peak_memory(), PROCESS) if speed.memory is None else (speed.memory, TAKEN)
    rates = speed.prompt, speed.generate
    return Timing(
        speed.load, *rates, "llama.cpp", "GGML, weights not repacked", speed.device, *memory
    )


def time_model(
    checkpoint: Path, prompt: int, generated: int, runs: int, compute: Compute
) -> Timing:
    """Timing of transformers, which loads the checkpoint as its users do."""
    with open_engine(checkpoint, compute, kernels=True) as engine:
        model, loading, provenance = engine.model, engine.load_seconds, engine.provenance
        ids = torch.arange(prompt)[None] % engine.vocabulary
        ids = ids.to(compute.torch_device)
        with torch.no_grad():
            pairs = [time_run(model, ids, generated, compute) for _ in range(runs + 1)][1:]
    prompt_rates, generated_rates = (list(rates) for rates in zip(*pairs, strict=True))
    device = compute.torch_device
    memory_of = ALLOCATED if device.type == "cuda" else PROCESS
    program = provenance["engine"], provenance["kernels"], str(device)
    rates = prompt_rates, generated_rates
    return Timing(loading, *rates, *program, peak_memory(), memory_of)


def time_run(
    model: PreTrainedModel, ids: torch.Tensor, generated: int, compute: Compute
) -> tuple[float, float]:
    """Tokens per second of reading the prompt, and of writing `generated` greedy tokens after it.

    ids: the prompt, int64 [1, tokens].
    """
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
    """Waits until a GPU has finished its work; it runs behind the program otherwise."""
    if compute.torch_device.type == "cuda":
        torch.cuda.synchronize(compute.torch_device)
