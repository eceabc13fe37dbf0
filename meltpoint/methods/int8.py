"""LLM.int8(): weights and activations are 8-bit integers but for the few columns with outliers.

A row of the weight, cast to float16, is rounded to ``round(127 w / max |w|)`` with its maximum kept
in float32. A linear's input is rounded in the same way, token by token, when it is multiplied;
columns of the input in which any |x| >= `threshold` are left as they are and multiplied by the
dequantised weights. Zeros stay zero.

Made by bitsandbytes through transformers, the head and other linears outside the decoder's blocks
left alone. The evaluation computes the same by fake quantisation, in the study's dtype: inputs are
cast to float16 and rounded as in bitsandbytes. There the outlier columns are those of the whole
batch. Here they are those of each window, which is what a batch of one gives, so that results do
not depend on the batch. A linear is within 2e-5 of bitsandbytes', whose constant for 1 / 127^2 is
that far off on CPUs. But a code at the edge of a rounding may go either way, and codes after it
change with it. So whole models differ by a part of what int8 itself changes.

This differs from the paper, in which the outlier columns of the weight stay in float16.
bitsandbytes keeps only the int8 weights, so these columns are dequantised.

Dettmers, Lewis, Belkada and Zettlemoyer, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at
Scale", NeurIPS 2022.
"""

from pathlib import Path

from pydantic import Field

from meltpoint.methods import _bitsandbytes
from meltpoint.methods.contract import Context
from meltpoint.methods.settings import MethodSettings

kind = "quantization"
levels = ()
env = "quantization"
libraries = ("bitsandbytes", "accelerate")
needs_regular_shapes = True
agrees_with_transformers = False


class Settings(MethodSettings):
    """Definition of an outlier."""

    threshold: float = Field(
        6.0, ge=0, description="Magnitude from which an input is an outlier. 0: none is."
    )


def compress(source: Path, target: Path, level: None, settings: Settings, context: Context) -> None:
    """Writes the checkpoint in the format in which transformers saves and loads it."""
    _bitsandbytes.quantize(
        source,
        target,
        context.compute,
        load_in_8bit=True,
        llm_int8_threshold=settings.threshold,
    )
