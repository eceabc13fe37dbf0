"""Memory that a job may take on its device."""

from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.compute import Compute
from meltpoint.lazy_import import LazyModule, torch

if TYPE_CHECKING:
    import torch as torch_types

psutil = LazyModule("psutil")

# The share of the available memory that is taken: activations and logits need the rest.
SHARE = 0.8
CGROUPS = Path("/sys/fs/cgroup")


def usable_bytes(compute: Compute) -> int:
    """Bytes that weights or hidden states may take: `compute.memory`.

    `auto` is four fifths of what is available now, on the accelerator or in RAM.
    """
    if compute.memory != "auto":
        return int(compute.memory * 1e9)
    return int(SHARE * available_bytes(compute.torch_device))


def available_bytes(device: "torch_types.device") -> int:
    """The memory that a process can still have on a device: a CPU's, within its cgroup's limit.

    On a GPU what torch keeps of tensors that are gone counts: the next ones are put there.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return min([psutil.virtual_memory().available, *_left_in_cgroups()])


def _left_in_cgroups(
    root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """Bytes left below the limits of the process's control group and of those that it is in."""
    try:
        paths = [line.split(":", 2)[2].strip("/\n") for line in membership.open()]
    except (OSError, IndexError):
        return []
    folders = [folder for path in paths for folder in ((root / path), *(root / path).parents)]
    return [left for folder in folders if (left := _left(folder)) is not None]


def _left(folder: Path) -> int | None:
    """Bytes left below a control group's limit, pages of files counted as free; None without one."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    statistics = dict(line.split() for line in lines)
    return max(0, limit - used + int(statistics.get("inactive_file", 0)))
