"""bitsandbytes: 4-bit codes of a table in blocks of the flattened weight, or 8-bit integers in rows.

4 bit (`load_in_4bit`): the weight, flattened row by row, is in blocks of 64; two codes share a byte,
the first in its high half. With q the code and a its block's largest magnitude ``w^ = table[q] a``. By
double quantisation a is an 8-bit code itself: ``a = table2[code] a2 + offset``, a2 of 256 blocks. What
is no tensor (block sizes, shape, offset) is JSON in the tensor `quant_state`.

8 bit (`load_in_8bit`): ``w^ = CB SCB / 127`` with int8 CB [rows, columns] and a float32 SCB per row.

Decoded weights are float32 as multiplied: `dequantize_4bit` rounds the same numbers to the dtype that
the model was quantised in, its matrix products to the dtype that they compute in.
"""

import json
from collections.abc import Callable, Container

import torch

from meltpoint.checkpoints.linears import Quantized

TABLES = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
# 1 / 127 with the digits of bitsandbytes, so that products equal those of its own dequantisation.
PER_CODE = 7.874015718698502e-3


def parts(linear: str, keys: Container[str]) -> dict[str, str]:
    """The stored tensors of a linear; none where it is stored plainly."""
    weight = f"{linear}.weight"
    if f"{linear}.SCB" in keys:
        return {"weight": weight, "SCB": f"{linear}.SCB"}
    states = (f"{weight}.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4"))
    state = next((key for key in states if key in keys), None)
    if state is None:
        return {}
    tables = {name: f"{weight}.{name}" for name in TABLES if f"{weight}.{name}" in keys}
    return {"weight": weight, "quant_state": state, **tables}


def decode(parts: dict[str, torch.Tensor], config: dict) -> torch.Tensor:
    """The weight [rows, columns], float32."""
    if "SCB" in parts:
        return parts["weight"] * parts["SCB"].view(-1, 1) * PER_CODE
    state = _state(parts)
    rows, columns = state["shape"]
    packed = parts["weight"].flatten().view(torch.uint8)
    codes = torch.stack((packed >> 4, packed & 0xF), dim=1).flatten()[: rows * columns]
    values = parts["quant_map"][codes.long()]
    return _scaled(values, _absmax(parts, state), state["blocksize"]).view(rows, columns)


def grid(parts: dict[str, torch.Tensor], config: dict) -> Quantized:
    """Bits and blocks of the weight, without the 0.125 bits of a doubly quantised scale's own scale."""
    if "SCB" in parts:
        return Quantized(8, -1, symmetric=True, scale_bits=32)
    scale_bits = 8 * parts["absmax"].element_size()
    return Quantized(4, _state(parts)["blocksize"], symmetric=True, scale_bits=scale_bits)


def inputs(config: dict) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Rounding of a linear's inputs by LLM.int8(); None for 4 bits, which leave them as they are."""
    return Int8Inputs(config["llm_int8_threshold"]) if config.get("load_in_8bit") else None


class Int8Inputs:
    """Rounds inputs [windows, tokens, columns] to int8 in each token, but for the outlier columns.

    As in bitsandbytes x is cast to float16; entries of magnitude >= `threshold` (0: none) are outliers.
    A token's scale is its largest other magnitude / 127, codes are rounded half to even. A column that
    has an outlier anywhere in the window passes as it is, in x's own dtype.

    bitsandbytes looks for outlier columns in all tokens that are multiplied together, so its results
    depend on the batch. Here each window is rounded by itself, as bitsandbytes does in a batch of one.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._shape = torch.Size()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        windows = self._apart(x)
        half = windows.half()
        outliers = half.abs() >= self.threshold if self.threshold else torch.zeros_like(half).bool()
        half = half.masked_fill(outliers, 0).float()
        largest = half.abs().amax(-1, keepdim=True)
        # A token of zeros has a scale of zero, and 0 * inf would be NaN.
        codes = (half * (127 / largest)).round().nan_to_num(0)
        rounded = (codes * (largest * PER_CODE)).to(x.dtype)
        return torch.where(outliers.any(-2, keepdim=True), windows, rounded).view_as(x)

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """x as [windows, tokens, columns]. OPT flattens the first two before its MLP."""
        if x.dim() > 2:
            self._shape = x.shape[:-1]
        if x.dim() == 2 and len(x) == self._shape.numel():
            return x.view(*self._shape, -1)
        return x


def _state(parts: dict[str, torch.Tensor]) -> dict:
    return json.loads(bytes(parts["quant_state"].tolist()))


def _absmax(parts: dict[str, torch.Tensor], state: dict) -> torch.Tensor:
    """The scale of each block, float32."""
    absmax = parts["absmax"]
    if "nested_absmax" not in parts:
        return absmax.float()
    values = parts["nested_quant_map"][absmax.long()]
    return (
        _scaled(values, parts["nested_absmax"], state["nested_blocksize"]) + state["nested_offset"]
    )


def _scaled(values: torch.Tensor, scales: torch.Tensor, size: int) -> torch.Tensor:
    """Flat values times the scale of their block; the last block may be short."""
    return values * scales.repeat_interleave(size)[: len(values)]
