"""Architectures that llama.cpp can run, with their names and numbers in a GGUF file.

The weights of a Hugging Face model go into a GGUF file unchanged, with two exceptions. Llama's queries
and keys have the two halves of each head interleaved (`permute`), because llama.cpp rotates neighbours
and transformers rotates halves. Gemma's norms are stored with the 1 that the model adds to them.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gguf
import torch

from meltpoint.errors import NotApplicable
from meltpoint.llamacpp.file import tensor_names

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ROPE_FREQUENCIES = "rope_freqs.weight"
# Gemma 2 and 3 of these depths have a scale of the scores of their own in llama.cpp.
SCALED_BY_HEADS = {"gemma2": 46, "gemma3": 62}


@dataclass(frozen=True)
class Architecture:
    """An architecture of llama.cpp: its `name`, and the properties that a model must have for it."""

    name: str
    activation: str = "silu"
    permuted: bool = False
    slides: bool = False
    untied: bool = True

    @property
    def norm_shift(self) -> int:
        """Number that the model adds to the weights of its norms."""
        return int(self.name.startswith("gemma"))


ARCHITECTURES = {
    "llama": Architecture("llama", permuted=True),
    "mistral": Architecture("llama", permuted=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma": Architecture("gemma", "gelu", untied=False),
    "gemma2": Architecture("gemma2", "gelu", slides=True, untied=False),
    "gemma3_text": Architecture("gemma3", "gelu", slides=True),
}


def architecture_of(config: "PreTrainedConfig") -> Architecture:
    """The architecture of a transformers config.

    Raises NotApplicable for an architecture, or a variant, that llama.cpp would not run faithfully.
    """
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(name.removesuffix("_text") for name in ARCHITECTURES)
        raise NotApplicable(f"gguf is written for {known}, not for {config.model_type}")
    architecture = ARCHITECTURES[config.model_type]
    if reason := _difference(config, architecture):
        raise NotApplicable(f"llama.cpp would not run this {config.model_type} as it is: {reason}")
    return architecture


def _difference(config, architecture: Architecture) -> str | None:
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    if not activation.startswith(architecture.activation):
        return f"its activation is {activation}, not {architecture.activation}"
    if not architecture.untied and not config.tie_word_embeddings:
        return "its head is not tied to its embeddings"
    if architecture.slides and config.query_pre_attn_scalar != _scores_scale(config, architecture):
        return f"query_pre_attn_scalar is {config.query_pre_attn_scalar}, not the width of a head"
    if architecture.name == "gemma2" and not config.attn_logit_softcapping:
        return "it caps no attention scores"
    if architecture.name == "gemma2" and not config.final_logit_softcapping:
        return "it caps no logits"
    return _difference_of_rope(_rope(config)["rope_type"], architecture)


def _difference_of_rope(kind: str, architecture: Architecture) -> str | None:
    # The factors of llama3 are a tensor, which llama.cpp looks for in no other architecture's file.
    if kind in ("default", "linear") or (kind == "llama3" and architecture.name == "llama"):
        return None
    return f"rope scaling of type {kind} is not converted"


def _scores_scale(config, architecture: Architecture) -> float:
    if config.num_hidden_layers == SCALED_BY_HEADS[architecture.name]:
        return config.hidden_size // config.num_attention_heads
    return config.head_dim


def _rope(config) -> dict:
    """The rotary parameters of the layers with full attention."""
    return config.rope_parameters.get("full_attention", config.rope_parameters)


def head_width(config: "PreTrainedConfig") -> int:
    """Width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def write_parameters(
    writer: gguf.GGUFWriter, config: "PreTrainedConfig", architecture: Architecture
) -> None:
    """Adds a model's numbers to a file's metadata.

    A sliding window is written even if llama.cpp ignores it, so that a user of the file can see it.
    """
    width = head_width(config)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _write_rope(writer, config)
    _write_attention(writer, config, architecture)


def _write_rope(writer: gguf.GGUFWriter, config) -> None:
    rope = _rope(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    if sliding := config.rope_parameters.get("sliding_attention"):
        writer.add_rope_freq_base_swa(sliding["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _write_attention(writer: gguf.GGUFWriter, config, architecture: Architecture) -> None:
    if window := sliding_window(config):
        writer.add_sliding_window(window)
    if architecture.slides:
        kinds = [kind == "sliding_attention" for kind in config.layer_types]
        writer.add_sliding_window_pattern(kinds)
    if cap := getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(cap)
    if cap := getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(cap)


def sliding_window(config: "PreTrainedConfig") -> int | None:
    """Number of tokens that layers with a sliding window see; None if all layers see all tokens."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    return getattr(config, "sliding_window", None)


def rope_factors(config: "PreTrainedConfig") -> torch.Tensor | None:
    """Divisors of Llama 3.1's rotary frequencies, float32 [head width / 2]; None for other models.

    Frequencies of waves that are short against the context of pretraining have the divisor 1, those of
    long waves the scaling's factor, with a smooth transition in between.
    """
    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    exponents = torch.arange(0, head_width(config), 2, dtype=torch.float32) / head_width(config)
    waves = 2 * math.pi * rope["rope_theta"] ** exponents
    turns = rope["original_max_position_embeddings"] / waves
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return 1 / ((1 - smooth) / rope["factor"] + smooth)


def heads_to_permute(name: str, config: "PreTrainedConfig", architecture: Architecture) -> int:
    """Number of heads in a parameter's rows if the file interleaves their halves, else 0."""
    if not architecture.permuted:
        return 0
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return heads.get(name.split(".")[-2], 0)


def permute(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """The parameter [rows, ...] with the halves of each head's rows interleaved."""
    return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(tensor.shape)


def unpermute(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """The parameter [rows, ...] before `permute`."""
    return tensor.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(tensor.shape)


class Names:
    """Names in a GGUF file by the names of a model's parameters."""

    def __init__(self, config, architecture: Architecture) -> None:
        self._names = tensor_names(architecture.name, config.num_hidden_layers)

    def __getitem__(self, name: str) -> str:
        found = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise NotApplicable(f"llama.cpp has no place for {name}")
        return found
