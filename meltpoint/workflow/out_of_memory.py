"""Work that is tried again in smaller batches where a GPU's memory is too small for it."""

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

from meltpoint.compute import Compute, is_out_of_memory
from meltpoint.errors import MeltpointError
from meltpoint.lazy_import import torch
from meltpoint.text import human_bytes

# Windows of the second try where the first one's number is not known.
UNKNOWN_BATCH = 8


def within_memory(work: Callable[[Compute], None], compute: Compute, streams: bool) -> None:
    """Does work that takes compute settings, again with less where a GPU has no memory left.

    The batch is halved down to one window; then, for work that `streams`, the model is streamed.
    Neither changes what a number means. Raises MeltpointError, with the numbers, where that is too
    much as well. Work writes its result at its end, so that a try that fails leaves nothing.
    """
    tried = []
    for settings in smaller(compute, streams):
        try:
            return work(settings)
        except MeltpointError:
            # Work that cannot be streamed says so; that is not what is wrong here.
            if not tried or settings.stream is not True:
                raise
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            tried.append(_in_words(settings))
            logging.info("Out of memory with %s: %s", tried[-1], str(error).splitlines()[0])
        # Outside of the handler, whose error holds what the work had in memory.
        _release()
    raise MeltpointError(
        f"out of memory on {compute.device}{_of_device(compute)}, even with {tried[-1]} (tried: "
        f"{'; '.join(tried)}): use a GPU with more memory, or set compute.device to cpu"
    )


def smaller(compute: Compute, streams: bool) -> Iterator[Compute]:
    """The settings as they are, then such that need less and less memory on the device."""
    yield compute
    if compute.torch_device.type == "cpu":
        return
    last = compute.batch
    if last == "auto":
        last = min(compute.sizes, default=2 * UNKNOWN_BATCH)
    while last > 1:
        last //= 2
        compute = replace(compute, batch=last)
        yield compute
    if streams and compute.stream is not True:
        yield replace(compute, batch=1, stream=True)


def _in_words(settings: Compute) -> str:
    if settings.batch == "auto":
        most = max(settings.sizes, default=None)
        return f"batches of {most} windows" if most else "batches of an automatic size"
    windows = f"batches of {settings.batch} window{'s' if settings.batch > 1 else ''}"
    return f"{windows}, streamed block by block" if settings.stream is True else windows


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _of_device(compute: Compute) -> str:
    """Clause on the device's memory, where it can be asked."""
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info(compute.torch_device)
    return f" ({human_bytes(free)} free of {human_bytes(total)})"
