"""Whether a model fits in the memory that is there."""

import logging
from pathlib import Path

import psutil
import torch
from torch import nn

from meltpoint.compute import Compute
from meltpoint.text import human_bytes

# The share of the available memory that weights may take: activations and logits need the rest.
SHARE = 0.8
CGROUPS = Path("/sys/fs/cgroup")


def fits(model: nn.Module, compute: Compute) -> bool:
    """True where the model's weights take at most four fifths of the device's available memory."""
    needed, available = weight_bytes(model), available_bytes(compute.torch_device)
    if needed <= SHARE * available:
        return True
    logging.info(
        "The weights take %s of %s of available memory: they are streamed block by block",
        human_bytes(needed),
        human_bytes(available),
    )
    return False


def weight_bytes(model: nn.Module) -> int:
    """Bytes of a model's parameters in their dtype, tied ones once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def available_bytes(device: torch.device) -> int:
    """The memory that a process can still have on a device: a CPU's, within its cgroup's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_left_in_cgroups()])


def _left_in_cgroups(
    root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """What is left below the limits of the process's control group and of those that it is in."""
    try:
        paths = [line.split(":", 2)[2].strip("/\n") for line in membership.open()]
    except (OSError, IndexError):
        return []
    folders = [folder for path in paths for folder in ((root / path), *(root / path).parents)]
    return [left for folder in folders if (left := _left(folder)) is not None]


def _left(folder: Path) -> int | None:
    """What is left below a control group's limit, pages of files counted as free; None without one."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    statistics = dict(line.split() for line in lines)
    return max(0, limit - used + int(statistics.get("inactive_file", 0)))
