"""Compares a model's size with the available memory."""

import logging

from torch import nn

from meltpoint import memory
from meltpoint.compute import Compute
from meltpoint.text import human_bytes


def fits(model: nn.Module, compute: Compute) -> bool:
    """True if the model's weights fit in the memory that may be used; logs the sizes if not."""
    needed, usable = weight_bytes(model), memory.usable_bytes(compute)
    if needed <= usable:
        return True
    logging.info(
        "The weights take %s, more than the %s of memory to be used: they are streamed block by block",
        human_bytes(needed),
        human_bytes(usable),
    )
    return False


def weight_bytes(model: nn.Module) -> int:
    """Bytes of a model's parameters in their dtypes; tied parameters count once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
