"""Tiny models with random weights, of each architecture, as checkpoints for tests."""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from meltpoint.model.base_models import verify, write_description

VOCABULARY = 96
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
CONFIGS = {
    "llama": LlamaConfig(**COMMON),
    "mistral": MistralConfig(**COMMON, sliding_window=8),
    "qwen2": Qwen2Config(**COMMON, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**COMMON, head_dim=16),
    "opt": OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        ffn_dim=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        # At the usual 0.02 two fifths of the ReLUs are dead on so few tokens, and their columns go.
        init_std=0.2,
    ),
    "gemma": GemmaConfig(**COMMON, head_dim=16),
    "gemma2": Gemma2Config(**COMMON, head_dim=16, sliding_window=8),
    # Six layers of one kind of attention, then one of the other: both rotary bases are used.
    "gemma3": Gemma3TextConfig(**{**COMMON, "num_hidden_layers": 7}, head_dim=16, sliding_window=8),
    "mixtral": MixtralConfig(**COMMON, num_local_experts=4),
    "qwen3_moe": Qwen3MoeConfig(
        **COMMON, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=64
    ),
    "gpt_neox": GPTNeoXConfig(
        **{key: value for key, value in COMMON.items() if key != "num_key_value_heads"}
    ),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=64),
    "bloom": BloomConfig(vocab_size=VOCABULARY, hidden_size=64, n_layer=2, n_head=4),
}


def save_model(folder: Path, family: str, **changes: object) -> Path:
    """A checkpoint of a family's tiny model with random weights, described as a base model."""
    usual = CONFIGS[family].to_dict()
    if "num_hidden_layers" in changes:
        # The kinds of as many layers as there are follow from the rest.
        usual.pop("layer_types", None)
    config = type(CONFIGS[family])(**{**usual, **changes})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        # Norms of exactly one and biases of exactly zero would hide that they are not read.
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    write_description(folder, verify(folder))
    return folder


def random_tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def save_windows(folder: Path, *shape: int) -> Path:
    """A file of random calibration windows [windows, tokens]."""
    path = folder / f"windows-{'x'.join(map(str, shape))}.npy"
    np.save(path, random_tokens(*shape).numpy())
    return path
