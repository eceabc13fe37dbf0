"""The config of the model in a GGUF file, from its metadata and the names of its tensors."""

from collections.abc import Container
from typing import Any

import gguf
import torch
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from meltpoint.errors import MeltpointError
from meltpoint.llamacpp.architecture import ROPE_FREQUENCIES, rope_factors
from meltpoint.llamacpp.file import value
from meltpoint.text import one_of

# Architectures that can be decoded, with their names in transformers.
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
# Keys of a config, with the keys of their numbers in the metadata.
NUMBERS = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
# The scaling of Llama 3.1 to 3.3: a file holds the divisors that follow from it, not these numbers.
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding"}


def config_of(reader: gguf.GGUFReader, dtype: torch.dtype) -> PreTrainedConfig:
    """The config of a file's model, for weights in `dtype`.

    Raises MeltpointError for an architecture that cannot be decoded, a missing number, and a variant of
    an architecture that a config cannot express.
    """
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    model_type = _model_type(reader)
    _check_variant(reader)
    heads = _needed(reader, NUMBERS["num_attention_heads"])
    width = _needed(reader, NUMBERS["hidden_size"]) // heads
    head_dim = _number(reader, "attention.key_length") or _number(reader, "rope.dimension_count")
    special = {
        f"{name}_token_id": value(reader, f"tokenizer.ggml.{key}_token_id")
        for name, key in SPECIAL.items()
    }
    config = AutoConfig.for_model(
        model_type,
        **{key: _needed(reader, number) for key, number in NUMBERS.items()},
        **special,
        **_biases(model_type, tensors),
        **_window(reader, model_type),
        num_key_value_heads=_number(reader, "attention.head_count_kv") or heads,
        head_dim=head_dim or width,
        vocab_size=_vocabulary(tensors),
        rope_parameters=_rope(reader),
        tie_word_embeddings="output.weight" not in tensors,
        architectures=[MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]],
        dtype=dtype,
    )
    if ROPE_FREQUENCIES in tensors:
        config.rope_parameters = _llama3_rope(config, tensors[ROPE_FREQUENCIES])
    return config


def _model_type(reader: gguf.GGUFReader) -> str:
    """transformers' name of the file's architecture; a llama with a sliding window is a mistral."""
    if "general.architecture" not in reader.fields:
        raise MeltpointError("its metadata has no general.architecture")
    architecture = value(reader, "general.architecture")
    if architecture not in MODEL_TYPES:
        raise MeltpointError(
            f"its architecture is {architecture}; GGUF files of {one_of(MODEL_TYPES)} are decoded"
        )
    slides = architecture == "llama" and _number(reader, "attention.sliding_window")
    return "mistral" if slides else MODEL_TYPES[architecture]


def _check_variant(reader: gguf.GGUFReader) -> None:
    """Raises MeltpointError for experts and kinds of rope scaling, which cannot be decoded."""
    if experts := _number(reader, "expert_count"):
        raise MeltpointError(f"its blocks have {experts} experts, which are not decoded from GGUF")
    scaling = value(reader, "{arch}.rope.scaling.type")
    if scaling not in (None, "none", "linear"):
        raise MeltpointError(f"its rope scaling of type {scaling} is not decoded from GGUF")


def _number(reader: gguf.GGUFReader, key: str) -> Any:
    """A number of the architecture; None if the metadata lacks it."""
    number = value(reader, f"{{arch}}.{key}")
    if isinstance(number, list):
        raise MeltpointError(f"its {key} differs from block to block, which no config can say")
    return number


def _needed(reader: gguf.GGUFReader, key: str) -> Any:
    number = _number(reader, key)
    if number is None:
        raise MeltpointError(f"its metadata has no {value(reader, 'general.architecture')}.{key}")
    return number


def _vocabulary(tensors: dict[str, gguf.ReaderTensor]) -> int:
    """Number of rows of the embeddings; a file gives a tensor's columns first."""
    if "token_embd.weight" not in tensors:
        raise MeltpointError("it holds no token_embd.weight")
    return int(tensors["token_embd.weight"].shape[1])


def _biases(model_type: str, tensors: Container[str]) -> dict[str, bool]:
    """Config keys that say whether a Llama's linears have biases; empty for other types."""
    if model_type != "llama":
        return {}
    return {
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
    }


def _window(reader: gguf.GGUFReader, model_type: str) -> dict[str, int]:
    """Config key of a Mistral's sliding window; empty for other types."""
    if model_type != "mistral":
        return {}
    return {"sliding_window": _number(reader, "attention.sliding_window")}


def _rope(reader: gguf.GGUFReader) -> dict[str, Any]:
    base = _number(reader, "rope.freq_base") or 10000.0
    parameters = {"rope_type": "default", "rope_theta": base}
    if value(reader, "{arch}.rope.scaling.type") == "linear":
        parameters |= {"rope_type": "linear", "factor": _needed(reader, "rope.scaling.factor")}
    return parameters


def _llama3_rope(config: PreTrainedConfig, tensor: gguf.ReaderTensor) -> dict[str, Any]:
    """Rotary parameters of Llama 3.1, found from the divisors in the file.

    Raises MeltpointError for divisors that no factor gives with Llama 3.1's other parameters.
    """
    stored = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
    factor = float(stored.max())
    theta = config.rope_parameters["rope_theta"]
    found = {**LLAMA3_SCALING, "rope_theta": theta, "factor": factor}
    config.rope_parameters = found
    expected = rope_factors(config)
    if expected.shape != stored.shape or not torch.allclose(expected, stored, rtol=1e-4):
        raise MeltpointError(
            f"its {ROPE_FREQUENCIES} is not that of Llama 3.1, and no config can say what it is"
        )
    return found
