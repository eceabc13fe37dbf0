"""FP4: weights are rounded to 4-bit floating point numbers, scaled to each block's maximum.

The weight, flattened row by row, is cut into blocks of 64. Each is divided by its largest magnitude,
kept in float32, and each entry rounded to the nearest of 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3 and 1 and
their negatives: bitsandbytes' own numbers of a sign, two bits of exponent and one of mantissa (those
of the later E2M1 standard differ). With `double_quant` the scales are quantised too, as in
[nf4](#nf4). Zeros stay zero.

Made by bitsandbytes through transformers and evaluated as [nf4](#nf4) is.

Dettmers, Pagnoni, Holtzman and Zettlemoyer, "QLoRA: Efficient Finetuning of Quantized LLMs", NeurIPS
2023.
"""

from pathlib import Path

from meltpoint.methods import _bitsandbytes
from meltpoint.methods.contract import Context

kind = "quantization"
levels = ()
env = "quantization"
libraries = ("bitsandbytes", "accelerate")
needs_regular_shapes = True
agrees_with_transformers = False


class Settings(_bitsandbytes.FourBitSettings):
    """Storage of the blocks' scales."""


def compress(source: Path, target: Path, level: None, settings: Settings, context: Context) -> None:
    """Writes the checkpoint in the format in which transformers saves and loads it."""
    _bitsandbytes.quantize_to_4_bits(source, target, "fp4", settings, context)
