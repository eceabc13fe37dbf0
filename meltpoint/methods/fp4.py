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

from pydantic import Field

from meltpoint.methods import _bitsandbytes
from meltpoint.methods.settings import MethodSettings

kind = "quantization"
levels = ()
env = "quantization"
libraries = ("bitsandbytes", "accelerate")
sources = ("methods._bitsandbytes", "formats.bitsandbytes")


class Settings(MethodSettings):
    """The scales."""

    double_quant: bool = Field(False, description="quantise the blocks' scales to 8 bits too")


def compress(source, target, level, settings, context) -> None:
    """Leaves the checkpoint as transformers saves and loads it."""
    _bitsandbytes.quantize(
        source,
        target,
        context.compute,
        load_in_4bit=True,
        bnb_4bit_quant_type="fp4",
        bnb_4bit_compute_dtype=context.compute.torch_dtype,
        bnb_4bit_use_double_quant=settings.double_quant,
    )
