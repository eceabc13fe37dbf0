"""SmoothQuant: activations give part of their range to the weights, then both are rounded to int8.

Activations have a few channels of large range, which ruin the grid of all others. So for the linears
that see the output x of a norm, column j of their weights is multiplied by s_j and the norm's weight
(and bias) divided by it:

    ``s_j = range(x_j)^a / (2 max |w_j|)^(1-a)``,  ``range = max - min``

over the calibration's tokens and the rows of all these linears, with a the `smoothing_strength`. The
model computes the same, from activations that are easier to round. This is done for what attention and
feed-forward read from their norms; o_proj and down_proj see no norm and are rounded as they are.

`w8a8`: weights are then rounded to nearest, int8, symmetric, with a scale per row (``s = max |w| /
127.5``); activations are int8 too, symmetric, with a scale per token, found as the model runs, and the
evaluation rounds them as compressed-tensors does. The head stays as it is.

Computed by llm-compressor, with its default, which is the paper's and its official code's a = 0.5 (the
code's examples take 0.8 to 0.9 for LLaMA and Mistral). The paper has max |x| and max |w| for range(x)
and 2 max |w|, which at a = 0.5 is the same where activations are symmetric, and one scale for a whole
weight matrix. Of the model only the decoder's linears and these norms change; zeros stay zero. The
checkpoint is `int-quantized`, which transformers and vLLM load; vLLM divides a token's maximum by 127
instead of 127.5. The library knows which linears read which norm, but not for OPT, which it lacks,
and Gemma 2 and 3, whose feed-forward reads another norm than it scales (llm-compressor 0.14).

Xiao, Lin, Seznec, Wu, Demouth and Han, "SmoothQuant: Accurate and Efficient Post-Training Quantization
for Large Language Models", ICML 2023.
"""

from pathlib import Path

from pydantic import Field

from meltpoint.chain import Scheme
from meltpoint.methods import _llmcompressor as llmcompressor
from meltpoint.methods.contract import Context, Resources
from meltpoint.methods.settings import CalibratedSettings

kind = "quantization"
levels = (Scheme,)
schemes = ("w8a8",)
env = "quantization"
libraries = ("llmcompressor", "compressed-tensors")
resources = Resources(memory=3.0)
rescales_norms = True
needs_regular_shapes = True
# OPT hands its feed-forward all windows as one, of which compressed-tensors takes one scale.
disagrees_on = ("opt",)

INT8 = {"num_bits": 8, "type": "int", "symmetric": True}
W8A8 = {
    "weights": {**INT8, "strategy": "channel"},
    "input_activations": {**INT8, "strategy": "token", "dynamic": True},
}


class Settings(CalibratedSettings):
    """Strength of the smoothing."""

    smoothing_strength: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the activations' range that the weights take. 0.5: half.",
    )


def compress(
    source: Path, target: Path, level: Scheme, settings: Settings, context: Context
) -> None:
    """Writes the quantised checkpoint; raises NotApplicable where the model does not suit."""
    model = llmcompressor.load(source, context)
    llmcompressor.start()
    from llmcompressor.modifiers.transform import smoothquant
    from llmcompressor.modifiers.transform.smoothquant import dynamic_mappings, utils

    dynamic = dynamic_mappings.SMOOTHQUANT_DYNAMIC_MAPPING_REGISTRY
    registry = {**utils.MAPPINGS_REGISTRY, **dynamic}
    ours = llmcompressor.READ_FROM_NORMS.get(type(model).__name__)
    if ours is None:
        llmcompressor.check_known(model, registry, "SmoothQuant")
    smoother = smoothquant.SmoothQuantModifier(
        smoothing_strength=settings.smoothing_strength, mappings=ours and mappings(ours)
    )
    llmcompressor.smooth_and_round(model, smoother, W8A8, target, context)


def mappings(read: dict[str, tuple[str, ...]]) -> list:
    """Mappings of norms to the linears that read them, as the library takes them."""
    ending = llmcompressor.ending
    return [[list(map(ending, linears)), ending(norm)] for norm, linears in read.items()]
