"""NF4: weights are rounded to 16 quantiles of a normal distribution, scaled to each block's maximum.

The weight, flattened row by row, is cut into blocks of 64. Each is divided by its largest
magnitude, kept in float32, and each entry rounded to the nearest of 16 values in [-1, 1], one of
which is zero: eight positive and seven negative ones, equally likely for normally distributed
weights. With `double_quant` the scales, less their mean, are quantised too, in blocks of 256, to a
table of 8 bits. This saves 0.37 bits a weight. Zeros stay zero.

Made by bitsandbytes through transformers, on the weights in the study's dtype, with its defaults. It
offers no other block size through transformers. The head and other linears outside the decoder's
blocks are left alone.

The evaluation uses the dequantised weight in the study's dtype. So does bitsandbytes, except on
CPUs. With AVX512-BF16 it multiplies in bfloat16, whatever the model's dtype, and stops at widths
that are no multiples of 64 (inputs) and 32 (outputs). With AVX512, bitsandbytes 0.50.2 wrongly
dequantises weights whose columns are a multiple of 16 and not of 64, as blocks do not fill their
rows.

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
    _bitsandbytes.quantize_to_4_bits(source, target, "nf4", settings, context)
