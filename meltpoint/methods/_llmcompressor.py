"""Code that the methods over llm-compressor share.

The library smooths a model on the calibration windows: it scales weights such that the model computes
the same as before. It then rounds the decoder's linears to nearest. It holds the whole model in memory,
with the inputs of one block for all windows. It computes on an accelerator if torch finds one, whatever
`compute.device` is.

Its results are checked. After smoothing the model must still give the same logits, which fails if the
library's list of layers does not fit an architecture. It must have found layers to scale. Each linear
must be stored in the requested bits.
"""

import contextlib
import json
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from meltpoint.checkpoints.formats import compressed
from meltpoint.checkpoints.index import index
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._saving import save_model
from meltpoint.timing import phase, timed

if TYPE_CHECKING:
    from llmcompressor.modifiers import Modifier
    from transformers import PreTrainedModel

    from meltpoint.methods.contract import Context

skeleton = LazyModule("meltpoint.model.empty_model")
transformers = LazyModule("transformers")

# Number of tokens in a batch of windows, by device.
TOKENS = {"cpu": 4096, "cuda": 16384}
# Attributes of the library's modifiers that list the layers to scale, until it clears them.
RESOLVED = ("_resolved_mappings", "resolved_mappings_")
# Number of tokens to check, on one window, that smoothing does not change the logits.
PROBE = 64


def start() -> None:
    """Imports the library and silences its log, which repeats facts of the checkpoint."""
    with phase("import"):
        from llmcompressor import LoggerConfig, configure_logger
    configure_logger(LoggerConfig(console_log_level="ERROR"))


@timed("load")
def load(source: Path, context: "Context") -> "PreTrainedModel":
    """The whole model, in the study's dtype and on its device."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        source,
        dtype=context.compute.torch_dtype,
        attn_implementation=skeleton.attention_of(source),
        device_map={"": context.compute.torch_device},
        local_files_only=True,
        trust_remote_code=False,
    ).eval()


def linears(model: "PreTrainedModel") -> dict:
    """The decoder's linears by their names in the model."""
    name, blocks = skeleton.decoder_blocks(model)
    return {
        f"{name}.{i}.{linear}": module
        for i, block in enumerate(blocks)
        for linear, module in skeleton.linears(block).items()
    }


# For architectures missing from, or wrong in, llm-compressor's registry: norm name (suffix) -> names of
# the linears that read its output.
ATTENTION = ("q_proj", "k_proj", "v_proj")
GEMMA = {"input_layernorm": ATTENTION, "pre_feedforward_layernorm": ("gate_proj", "up_proj")}
READ_FROM_NORMS = {
    "OPTForCausalLM": {
        r"layers\.\d+\.self_attn_layer_norm": ATTENTION,
        r"layers\.\d+\.final_layer_norm": ("fc1",),
    },
    "BloomForCausalLM": {
        "input_layernorm": ("query_key_value",),
        "post_attention_layernorm": ("dense_h_to_4h",),
    },
    "Gemma2ForCausalLM": GEMMA,
    "Gemma3ForCausalLM": GEMMA,
}


def ending(name: str) -> str:
    """Pattern, in the library's syntax, of the layers whose names end in `name`."""
    return f"re:.*{name}$"


def check_known(model: "PreTrainedModel", registry: Container[str], method: str) -> None:
    """Raises NotApplicable for an architecture whose norms and linears the library cannot match."""
    name = type(model).__name__
    if name not in registry:
        raise NotApplicable(f"llm-compressor does not know what {method} scales in {name}")


def smooth_and_round(
    model: "PreTrainedModel", smoother: "Modifier", scheme: dict, target: Path, context: "Context"
) -> None:
    """Smooths the model, rounds its decoder's linears by the scheme, and saves it compressed."""
    inside = linears(model)
    before = _outputs(model, context)
    with _places(smoother) as places:
        _oneshot(model, [smoother, _rounding(model, inside, scheme)], context)
    _check_smoothed(model, smoother, before, places, context)
    _save(model, target)
    check_stored(target, list(inside), scheme["weights"]["num_bits"])


def _rounding(model, inside: dict, scheme: dict):
    from llmcompressor.modifiers.quantization import QuantizationModifier

    kinds = {name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    groups = {"group_0": {"targets": ["Linear"], **scheme}}
    return QuantizationModifier(config_groups=groups, ignore=sorted(kinds - set(inside)))


def _oneshot(model, recipe: list, context) -> None:
    from llmcompressor import oneshot

    with _nothing_pinned():
        # The windows are tokens already: False keeps the library from loading a tokenizer.
        oneshot(model=model, dataset=batches(context), recipe=recipe, processor=False)


def batches(context: "Context") -> "torch.utils.data.DataLoader":
    """Loader of the unchanged calibration windows in their order, in batches."""
    samples = [{"input_ids": window} for window in context.windows]
    size = context.compute.batch_size(context.windows.shape[1], TOKENS)
    return torch.utils.data.DataLoader(samples, batch_size=size)


@contextlib.contextmanager
def _nothing_pinned():
    """Context in which the library runs without an accelerator.

    It pins cached arrays for faster copies to an accelerator. Without one torch refuses to pin, and
    nothing is copied anyway.
    """
    if torch.accelerator.is_available():
        yield
        return
    from llmcompressor.pipelines.cache import IntermediatesCache

    with patch.object(IntermediatesCache, "pin_memory", lambda *_: None):
        yield


def _outputs(model, context):
    """The logits [1, tokens, vocabulary] of the first window's first tokens, float32."""
    from compressed_tensors.offload import get_execution_device

    tokens = context.windows[:1, :PROBE].to(get_execution_device(model))
    with torch.no_grad():
        return model(tokens).logits.float().cpu()


@contextlib.contextmanager
def _places(smoother) -> Iterator[list]:
    """Context with a list that gets the layers to scale that the smoother has found, at its end.

    A layer may keep the scale of one: for weights that are on the grid already, any other is worse.
    """
    places, end = [], type(smoother).on_finalize

    def on_finalize(modifier: "Modifier", state: object, **options: object) -> bool:
        (found,) = (getattr(modifier, name) for name in RESOLVED if hasattr(modifier, name))
        places.extend(found)
        return end(modifier, state, **options)

    with patch.object(type(smoother), "on_finalize", on_finalize):
        yield places


def _check_smoothed(model, smoother, before, places: list, context) -> None:
    """Raises NotApplicable unless the library found layers to scale and kept the model's logits."""
    from compressed_tensors.quantization import disable_quantization

    method = type(smoother).__name__.removesuffix("Modifier")
    name = type(model).__name__
    if not places:
        raise NotApplicable(f"llm-compressor's {method} found nothing to scale in this {name}")
    # Linears hold the smoothed weights at full precision and would round them while they run.
    model.apply(disable_quantization)
    error = ((_outputs(model, context) - before).norm() / before.norm()).item()
    if not error <= torch.finfo(model.dtype).eps ** 0.5:
        raise NotApplicable(
            f"what llm-compressor's {method} scales in {name} changes what the model computes (its "
            f"logits by {error:.0%} before anything is rounded): its mappings do not fit"
        )


@timed("save")
def _save(model, target: Path) -> None:
    save_model(model, target)
    # The library's own record of the step is not needed beside meltpoint.json.
    (target / "recipe.yaml").unlink()


def check_stored(target: Path, names: list[str], bits: int) -> None:
    """Raises MeltpointError unless each named linear is stored quantised in `bits` bits."""
    keys = index(target)
    plain = [name for name in names if not compressed.parts(name, keys)]
    config = json.loads((target / "config.json").read_text()).get("quantization_config")
    if plain or config is None:
        raise MeltpointError(f"llm-compressor left {(plain or names)[0]} unquantised")
    stored = compressed.scheme(config)["weights"]["num_bits"]
    if stored != bits:
        raise MeltpointError(f"llm-compressor stored {stored} bits where {bits} were asked for")
