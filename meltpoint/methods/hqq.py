"""HQQ: weights are rounded on grids whose zero points are fitted to the rounding error, without data.

The weight, flattened row by row, is cut into groups of `group_size`; with `axis=0` a group takes
every (rows columns / group_size)-th entry. In each ``q = clamp(round(w / s + z), 0, 2^b - 1)`` and
``w^ = s (q - z)`` with ``s = (max - min) / (2^b - 1)``; z is first ``-min / s`` (at 4 bits
rounded), then improved in up to 20 half-quadratic steps on ``|w - w^|^p``, p = 0.7: of the error
``e = w - w^`` the part ``sign(e) max(|e| - |e|^(p-1) / 10, 0)`` is outliers, and z the group's mean
of ``q - (w - outliers) / s``. The steps end when the weight's mean |e| no longer falls. Unlike in
the article, the factor of 10 does not grow.

z is not an integer, so zero is on a grid only by chance. Zeros of a pruned model are lost, nearly
all at 4 bits or fewer, and the checkpoint says how many.

Made by hqq's `HQQLinear` with its defaults, linear by linear, on the weights in the study's dtype; the
head and other linears outside the decoder's blocks are left alone. Scales and zero points are stored,
and weights dequantised, in hqq's own default of float16 (`compute_dtype`). The solver runs in float16
on GPUs and in float32 on CPUs, so that codes differ.

The folder is laid out as by hqq's `save_to_safetensors`: under each linear's name the state dict of
its `HQQLinear`, and `quantization_config` in config.json. Do not load it with transformers 5.17,
which has no HQQ at present and, with a warning, leaves these linears random. In hqq a linear is
read from the tensors t under its name by
``layer = HQQLinear(None, None, compute_dtype=torch.float16, device="cpu"); layer.load_state_dict(t)``.
hqq's `save_quantized` and `from_quantized` work on a pickle, `qmodel.pt`, which is not written.

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", Mobius Labs, 2023.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from meltpoint.chain import Bits
from meltpoint.compute import Compute
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import torch
from meltpoint.methods.contract import Context, Tensor
from meltpoint.methods.settings import MethodSettings

kind = "quantization"
levels = (Bits,)
bits = (2, 3, 4, 8)
env = "quantization"
libraries = ("hqq",)
needs_regular_shapes = True
agrees_with_transformers = False
representative_level = "4bit"

# Number of rows of codes that are packed together, by bits. Rows of 3 bits are padded to ten.
PACKED_ROWS = {2: 4, 3: 1, 4: 2, 8: 1}


def _multiple_of_8(size: int) -> int:
    if size != -1 and (size < 8 or size % 8):
        raise ValueError("a multiple of 8, or -1")
    return size


class Settings(MethodSettings):
    """Size, direction and dtype of the grids."""

    group_size: Annotated[int, AfterValidator(_multiple_of_8)] = Field(
        64,
        description="Number of entries of a grid, a multiple of 8. -1: a row (axis 0: a column).",
    )
    axis: int = Field(
        1,
        ge=0,
        le=1,
        description="Members of a group. 1: neighbours, as most kernels need. 0: far apart.",
    )
    compute_dtype: Literal["float16", "bfloat16", "float32"] = Field(
        "float16", description="Dtype of scales and zero points, and of the arithmetic on them."
    )


def compress(source: Path, target: Path, level: Bits, settings: Settings, context: Context) -> None:
    """Writes the state dicts of hqq's linears, and all other tensors unchanged, block by block."""
    from hqq.core.quantize import BaseQuantizeConfig

    from meltpoint.checkpoints.io import Writer, copy_companions
    from meltpoint.model.decoded import Parts

    group_size = None if settings.group_size == -1 else settings.group_size
    config = BaseQuantizeConfig(level.bits, group_size, axis=settings.axis)
    model = Parts(source, context.compute)
    writer = Writer(target)
    for names in (model.others, *model.blocks):
        tensors = model.reader.read(names)
        for linear in model.linears:
            if (weight := tensors.pop(f"{linear}.weight", None)) is not None:
                check_size(linear, weight.shape, level.bits, settings)
                tensors |= packed(linear, weight, config, settings, context.compute)
        writer.write(tensors)
    writer.finish()
    copy_companions(source, target, context.compute.dtype)
    name_format(target, config)


def check_size(linear: str, shape: tuple[int, int], bits: int, settings: Settings) -> None:
    """Raises NotApplicable for a weight that hqq cannot cut into groups, or cannot pack."""
    rows, columns = shape
    size = settings.group_size
    if size == -1:
        size = columns if settings.axis == 1 else rows
    groups, left = divmod(rows * columns, size)
    if left:
        raise NotApplicable(
            f"hqq needs weights of a multiple of group_size={size} entries; {linear} has "
            f"{rows} x {columns}"
        )
    packed_rows = groups if settings.axis == 1 else size
    if packed_rows % PACKED_ROWS[bits]:
        raise NotApplicable(
            f"hqq packs {PACKED_ROWS[bits]} groups of {bits} bits together; {linear} has {rows} x "
            f"{columns}, {groups} groups of {size}"
        )


def packed(
    linear: str, weight: Tensor, config: dict, settings: Settings, compute: Compute
) -> dict[str, Tensor]:
    """The tensors of the quantised linear by their keys."""
    from hqq.core.quantize import HQQLinear

    layer = HQQLinear.from_weights(
        weight.to(compute.torch_device),
        None,
        config,
        compute_dtype=getattr(torch, settings.compute_dtype),
        device=str(compute.torch_device),
    )
    return {f"{linear}.{key}": tensor.detach() for key, tensor in layer.state_dict().items()}


def name_format(folder: Path, config: dict) -> None:
    """Writes the format of the weights to the folder's config.json, in transformers' form."""
    from meltpoint.files import write_json

    path = folder / "config.json"
    format = {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"]}
    write_json(path, {**json.loads(path.read_text()), "quantization_config": format})
