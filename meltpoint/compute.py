"""Where and how a job computes: device, dtype, threads, batch."""

import contextlib
import ctypes
import os
import resource
import sys
from dataclasses import dataclass, field
from typing import Literal

from meltpoint.lazy_import import torch

# Names of glibc's mallopt. Pieces from a size on are mapped, and unmapped when they are freed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE, VAST = 4 << 20, 1 << 30
# Seconds from which on work is long enough that its state is kept, for the case that it is killed.
LONG = 600.0
# CUDA's libraries say in errors of no class of their own that a GPU has no memory left for them.
NO_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Compute:
    """The study's `compute` section; of it only `dtype` is part of a cell's job spec."""

    device: str = "auto"
    dtype: str = "float32"
    threads: int = 1
    batch: int | Literal["auto"] = "auto"
    stream: bool | Literal["auto"] = "auto"
    memory: float | Literal["auto"] = "auto"
    resume: bool | Literal["auto"] = "auto"
    # The batches' sizes that `batch_size` has given: where they are too large, the next are smaller.
    sizes: list[int] = field(default_factory=list, compare=False, repr=False)

    def start(self) -> None:
        """Fixes threads and the float32 of matrix products before anything is computed.

        It asks for no device: a GPU that this process has seen stays the one that it sees.
        """
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(self.threads)
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        keep_memory()

    @property
    def torch_device(self) -> "torch.device":
        """The device; `auto` takes the first accelerator that torch sees, else the CPU."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def torch_dtype(self) -> "torch.dtype":
        """Torch's dtype that weights are computed with and stored in."""
        return getattr(torch, self.dtype)

    def batch_size(self, length: int, tokens: dict[str, int]) -> int:
        """Windows of `length` tokens in a batch; `auto` fills the number of tokens for the device."""
        if self.batch != "auto":
            return self.batch
        self.sizes.append(max(1, tokens.get(self.torch_device.type, tokens["cpu"]) // length))
        return self.sizes[-1]


def worth_keeping(resume: bool | Literal["auto"], seconds: float) -> bool:
    """True for work of so many seconds whose state `compute.resume` wants to be kept."""
    return resume is True or (resume == "auto" and seconds > LONG)


def all_finite(values: "torch.Tensor") -> bool:
    """True if no value is NaN or infinite.

    The least and the largest say so in one pass, where isfinite makes several tensors of the size.
    """
    return values.numel() == 0 or all(bool(end.isfinite()) for end in values.aminmax())


def overflow(numbers: str, place: str, dtype: str) -> str:
    """The sentence for numbers that are not finite, because `place` overflows in a dtype."""
    if dtype == "float32":
        return (
            f"{numbers} are not finite: the model itself overflows in float32, in {place}, and no "
            "other compute.dtype helps"
        )
    wider = "float32" if dtype == "bfloat16" else "float32 or bfloat16"
    return f"{numbers} are not finite in {dtype}: {place} overflows: set compute.dtype to {wider}"


def is_out_of_memory(error: BaseException) -> bool:
    """True for an error that says that the memory of a GPU is too small.

    PyTorch's allocator has a class for it; CUDA and its libraries raise a RuntimeError, as cuBLAS does
    that finds no room for its workspace.
    """
    torch_here = sys.modules.get("torch")
    if torch_here and isinstance(error, torch_here.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)


def keep_memory() -> None:
    """Has freed memory serve the next tensors, where glibc is the allocator.

    By default the tensors of every batch are handed back and asked for anew, and the kernel clears
    their pages each time: a tenth to a quarter of a batch's CPU time (docs/log.md).
    """
    _map_from(VAST)


def return_memory() -> None:
    """Has freed memory go back to the system at once, where glibc is the allocator.

    glibc keeps large freed pieces for itself and cannot fit the next block's weights into them: the
    walk's memory would grow by half a block with each block.
    """
    _map_from(LARGE)


def _map_from(size: int) -> None:
    """Has pieces of so many bytes mapped by themselves, and so much free memory at the end returned."""
    with contextlib.suppress(OSError, AttributeError):
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(option, size)


def trim_memory() -> None:
    """Hands back what is free but still held, where glibc is the allocator."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory() -> int:
    """Bytes that this process has held at the most so far: the accelerator's if it used one."""
    torch_here = sys.modules.get("torch")
    if torch_here and torch_here.cuda.is_available() and torch_here.cuda.max_memory_allocated():
        return torch_here.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
