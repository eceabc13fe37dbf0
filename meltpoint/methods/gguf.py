"""GGUF: llama.cpp's files in one of its named schemes, run by llama.cpp itself.

A scheme is a mixture of types: what matters more gets more bits (in q4_k_m half of the value and
down projections have 6, the head has 6). A type stores blocks of 32 or 256 columns: codes, a 16-bit
scale of the block, and in q2_k to q6_k and the iq types scales of 16 or 32 columns in a few bits
each. q4_0, q8_0, q3_k and q6_k are symmetric, ``w^ = d q``; q2_k, q4_k and q5_k also have a
minimum, ``w^ = d q - m``; the iq types take codes or groups of them from a book. Scales and codes
come from llama.cpp's search for a small weighted squared error. It starts from the checkpoint
rounded to float16, which is the scheme f16; norms and biases are float32 throughout.

The importance matrix weighs the columns in that error by the mean square of their inputs over the
calibration, ``h_j = mean_t x_tj^2``, as llama.cpp's own tool gathers it. iq2_m and iq1_m need this
matrix and always get one, the others with `imatrix=on`; f16 and q8_0 do not use it.

Zero is a level of the symmetric types alone: q4_k and q5_k make most pruned weights nonzero, iq
types all of them. A width that a scheme's blocks do not fill is not applicable, unless
`fallback=true` lets llama.cpp store such linears in other types, as in published files
(Qwen2.5-0.5B and 72B, Gemma-3-1B): q8_0 for q6_k, q5_1 for q5_k, q5_0 for q4_k, q4_0 for q3_k and
q2_k, iq4_nl for iq types, and 16 bit for a width that is no multiple of 32. A scheme's name says
little then; the checkpoint says how each linear is stored. A model that llama.cpp would run
differently from transformers is not applicable either.

The tokenizer is written into the file if llama.cpp splits trial sentences in the same way.
Otherwise the file has no vocabulary: it runs on token numbers and takes no text. A GGUF file ends a
chain, because no other method reads it.

llama.cpp, https://github.com/ggml-org/llama.cpp, by Gerganov and contributors; k-quants, iq types and
importance matrix by Kawrakow (its pull requests 1684, 4773, 4861). No paper describes them.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from meltpoint.chain import Scheme
from meltpoint.checkpoints.formats import GGUF
from meltpoint.errors import NotApplicable
from meltpoint.methods.contract import Context
from meltpoint.methods.settings import CalibratedSettings
from meltpoint.resources import Resources

kind = "quantization"
levels = (Scheme,)
schemes = (
    "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m", "q2_k", "iq4_xs", "iq3_m", "iq2_m",
    "iq1_m",
)  # fmt: skip
env = "llama"
evaluation_env = "llama"
libraries = ("gguf", "llama-cpp-python")
needs_regular_shapes = True
# A file in 16 bit exists beside the one that is quantised from it.
resources = Resources(disk=2.0)

NEED_IMPORTANCE = ("iq2_m", "iq1_m")
IGNORE_IMPORTANCE = ("f16", "q8_0")


class Settings(CalibratedSettings):
    """The importance matrix, and what becomes of widths that a scheme has no blocks for."""

    imatrix: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether columns are weighed by their inputs' mean square over the calibration. "
        "auto: for the schemes that cannot do without (iq2_m, iq1_m).",
    )
    fallback: bool = Field(
        False,
        description="Whether linears of widths that the scheme's blocks do not fill are stored in the "
        "types that llama.cpp falls back to. false: a model with such widths is not applicable.",
    )

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: those of the calibration with `imatrix=off`."""
        calibration = set(CalibratedSettings.model_fields)
        return calibration if self.imatrix == "off" else set()


def calibrated(level: Scheme, settings: Settings) -> bool:
    """True if the step needs an importance matrix, which is computed from the calibration."""
    if settings.imatrix == "auto":
        return level.name in NEED_IMPORTANCE
    return settings.imatrix == "on" and level.name not in IGNORE_IMPORTANCE


def compress(
    source: Path, target: Path, level: Scheme, settings: Settings, context: Context
) -> dict:
    """Writes `model.gguf`; returns facts about each linear by name.

    Raises NotApplicable for a model that llama.cpp would not run faithfully, for widths that the
    scheme's blocks do not fill (without `fallback`), and for a scheme that needs an importance matrix
    and has none.
    """
    from meltpoint.llamacpp.convert import write_gguf
    from meltpoint.llamacpp.importance import importance_matrix
    from meltpoint.llamacpp.layers import layers
    from meltpoint.llamacpp.quantize import check_widths, quantize

    scheme, file = level.name, target / GGUF
    if scheme in NEED_IMPORTANCE and context.windows is None:
        raise NotApplicable(f"{scheme} needs an importance matrix: leave imatrix at auto")
    if not settings.fallback:
        check_widths(source, scheme)
    if scheme == "f16":
        write_gguf(source, file)
        return layers(source, file)
    half = target / "f16.gguf"
    write_gguf(source, half)
    importance = None
    if context.windows is not None:
        importance = importance_matrix(source, context.windows, context.compute)
    quantize(half, file, scheme, context.compute.threads, importance)
    half.unlink()
    return layers(source, file)
