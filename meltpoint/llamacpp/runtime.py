"""Measurements of a GGUF file in llama.cpp: the likelihood of tokens, and speed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.llamacpp.file import value
from meltpoint.llamacpp.library import llama_cpp
from meltpoint.llamacpp.session import Context, Model, loaded
from meltpoint.progress import track

# An observer is called with a slice of the predicted tokens, and with the logits at their places,
# float32 [places, vocabulary].
Observer = Callable[[slice, np.ndarray], None]
# Largest number of logits in memory, in float32 64 MiB.
LOGITS = 2**24
LARGEST_BATCH = 512
# llama.cpp runs these architectures with attention to all tokens, even with a sliding window.
ATTENDS_TO_ALL = ("llama", "qwen2", "qwen3")


class Speed(NamedTuple):
    """Seconds to load a model, and each run's tokens per second of reading a prompt and of generating.

    `device` is "cpu" or "cuda"; `memory` is the number of bytes in use there, None on a CPU.
    """

    load: float
    prompt: list[float]
    generate: list[float]
    device: str
    memory: int | None


def token_nll(file: Path, windows: np.ndarray, compute: Compute) -> np.ndarray:
    """The negative log likelihood of each predicted token in nats: float32 [windows, window - 1].

    windows: token numbers [windows, window]; no token is added, and each window is a text of its own.
    Raises MeltpointError for a broken file and for unknown token numbers. Raises NotApplicable for
    windows that exceed a sliding window which llama.cpp ignores.
    """
    with loaded(file, compute) as model:
        return windows_nll(model, file, windows)


def windows_nll(
    model: Model, file: Path, windows: np.ndarray, observe: Observer = lambda *_: None
) -> np.ndarray:
    """The result of `token_nll`, from a loaded model; the file is named in errors.

    observe: called with the logits, part by part.
    """
    count, length = windows.shape
    check_tokens(model, file, windows, length)
    nll = np.empty(count * (length - 1), np.float32)
    with model.context(length, batch_size(model, length - 1)) as context:
        for index, row in enumerate(track(windows, "perplexity")):
            _window_nll(context, row, index * (length - 1), nll, observe)
    return nll.reshape(count, length - 1)


def batch_size(model: Model, length: int) -> int:
    """Number of tokens to read in one batch from texts of this length; all its logits are in memory."""
    return max(1, min(length, LARGEST_BATCH, LOGITS // model.vocabulary))


def check_tokens(model: Model, file: Path, tokens: np.ndarray, length: int) -> None:
    """Raises MeltpointError for numbers without a token, and NotApplicable for texts that are too long.

    These exceed the model's sliding window, which llama.cpp ignores. length: that of the texts.
    """
    _check_window(model.metadata, length)
    _check_tokens(file, tokens, model.vocabulary)


def speed(file: Path, prompt: int, generate: int, runs: int, compute: Compute) -> Speed:
    """Speed of reading a prompt of `prompt` tokens, and of `generate` more tokens one by one.

    One more run before the others warms up. As in llama.cpp's own bench, all runs read the same random
    tokens; the time does not depend on the choice.
    """
    free = _free_memory(compute)
    with loaded(file, compute) as model:
        tokens = np.random.default_rng(0).integers(0, model.vocabulary, prompt + generate)
        seconds = []
        with model.context(prompt + generate, min(prompt, LARGEST_BATCH)) as context:
            for _ in range(runs + 1):
                context.clear()
                reading = _seconds(context, tokens[:prompt], context.size)
                seconds.append((reading, _seconds(context, tokens[prompt:], 1)))
            # llama.cpp frees no memory before it is closed, so that this is the peak.
            memory = free - _free_memory(compute) if model.device == "cuda" else None
    reads, makes = zip(*seconds[1:], strict=True)
    rates = [prompt / s for s in reads], [generate / s for s in makes]
    return Speed(model.seconds, *rates, model.device, memory)


def _free_memory(compute: Compute) -> int:
    """Free bytes of all accelerators, over which llama.cpp spreads a model; 0 for a CPU."""
    if compute.torch_device.type != "cuda":
        return 0
    return sum(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))


def _seconds(context: Context, tokens: np.ndarray, step: int) -> float:
    start = time.perf_counter()
    for part in parts(tokens, step):
        context.read(part, last_only=True)
    llama_cpp().llama_synchronize(context.handle)
    return time.perf_counter() - start


def _window_nll(
    context: Context, window: np.ndarray, place: int, nll: np.ndarray, observe: Observer
) -> None:
    """Writes a window's losses, float32 [window - 1], to `nll` from `place` on."""
    context.clear()
    inputs, targets = (parts(part, context.size) for part in (window[:-1], window[1:]))
    for tokens, wanted in zip(inputs, targets, strict=True):
        places = slice(place, place + len(tokens))
        logits = context.read(tokens)
        nll[places] = _nll(logits, wanted)
        observe(places, logits)
        place += len(tokens)


def _nll(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Losses ``log sum exp - logit`` of each row's target in nats, float32 [tokens].

    logits: float32 [tokens, vocabulary]. targets: token numbers [tokens].
    """
    largest = logits.max(axis=1)
    total = np.exp(logits - largest[:, None]).sum(axis=1, dtype=np.float64)
    chosen = logits[np.arange(len(targets)), targets]
    return (np.log(total) + largest - chosen).astype(np.float32)


def parts(tokens: np.ndarray, size: int) -> list[np.ndarray]:
    """The tokens in parts of at most `size`."""
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def _check_window(metadata: gguf.GGUFReader, window: int) -> None:
    sliding = value(metadata, "{arch}.attention.sliding_window")
    architecture = value(metadata, "general.architecture")
    if architecture in ATTENDS_TO_ALL and sliding is not None and sliding < window:
        raise NotApplicable(
            f"llama.cpp lets this model see all {window} tokens of a window, where its config lets it "
            f"see {sliding} at a time: use windows of {sliding} or less"
        )


def _check_tokens(file: Path, tokens: np.ndarray, vocabulary: int) -> None:
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if len(outside):
        raise MeltpointError(
            f"{file} has {vocabulary} tokens, and the texts hold number {outside[0]}: use tokens of "
            "the model's own tokenizer"
        )
