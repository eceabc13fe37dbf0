"""GPTQ: the layout of AutoGPTQ and GPTQModel, which vLLM and transformers load too.

Of a linear [rows, columns] with codes of b bits in groups of columns there are

``qweight``
    the codes, int32 [columns b / 32, rows]: down each of its columns one stream of bits, the lowest
    bit of a word first
``qzeros``
    the zero points, int32 [groups, rows b / 32]: along each of its rows such a stream. In the first
    version of the layout (`checkpoint_format` gptq) one less is stored, in the second (gptq_v2) not
``scales``
    float16 [groups, rows]
``g_idx``
    the group of each column, int32 [columns]: not in order where columns were sorted by activation
    (`desc_act`)

and a weight is ``scale (code - zero)``. That product is exact in float32, and so it is decoded; kernels
round it to the dtype that they compute in.
"""

from collections.abc import Container

import torch

from meltpoint.checkpoints.linears import Quantized

PARTS = ("qweight", "qzeros", "scales", "g_idx")
WORD = 32


def parts(linear: str, keys: Container[str]) -> dict[str, str]:
    """The stored tensors of a linear; none where it is stored plainly."""
    if f"{linear}.qweight" not in keys:
        return {}
    names = {part: f"{linear}.{part}" for part in PARTS}
    return {part: key for part, key in names.items() if key in keys}


def decode(parts: dict[str, torch.Tensor], config: dict) -> torch.Tensor:
    """The weight, float32 [rows, columns]; raises ValueError for a layout that is not known."""
    bits = config["bits"]
    if config.get("dynamic"):
        raise ValueError("some modules have bits of their own, by `dynamic`")
    codes = unpack(parts["qweight"].T, bits)
    zeros = _zeros(parts["qzeros"], bits, config.get("checkpoint_format", "gptq"))
    groups = _groups(parts, codes.shape[1], config)
    scales = parts["scales"].float().T[:, groups]
    return (codes.float() - zeros.T[:, groups]).mul_(scales)


def grid(parts: dict[str, torch.Tensor], config: dict) -> Quantized:
    """Bits, groups and scales that the linear is stored in."""
    width = parts["scales"].element_size() * 8
    return Quantized(config["bits"], config["group_size"], config["sym"], width)


def _groups(parts: dict[str, torch.Tensor], columns: int, config: dict) -> torch.Tensor:
    """The group of each column [columns]; without a stored `g_idx` groups are runs of columns."""
    if "g_idx" in parts:
        return parts["g_idx"].long()
    size = config["group_size"]
    columns = torch.arange(columns, device=parts["qweight"].device)
    return columns * 0 if size == -1 else columns // size


def unpack(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Unpacks int32 words [streams, words] into numbers of `bits` each, uint8 [streams, numbers]."""
    octets = words.contiguous().view(torch.uint8)
    shifts = torch.arange(8, dtype=torch.uint8, device=words.device)
    stream = ((octets.unsqueeze(-1) >> shifts) & 1).flatten(1)
    numbers = stream.unflatten(1, (-1, bits))
    return (numbers << shifts[:bits]).sum(-1, dtype=torch.uint8)


def _zeros(words: torch.Tensor, bits: int, layout: str) -> torch.Tensor:
    """The zero points, float32 [groups, rows]."""
    if layout == "gptq_v2":
        return unpack(words, bits).float()
    if layout != "gptq":
        raise ValueError(f"checkpoint_format is {layout}, not gptq or gptq_v2")
    if WORD % bits:
        return ((unpack(words, bits) + 1) & (2**bits - 1)).float()
    # The writer subtracts 1 from all numbers of a word at once, so a zero point of 0 borrows from the
    # next number. Adding the ones to the whole word undoes that.
    ones = sum(1 << shift for shift in range(0, WORD, bits))
    return unpack(words + ones, bits).float()
