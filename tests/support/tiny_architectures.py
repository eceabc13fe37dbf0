"""A tiny random model of each architecture that transformers builds as a causal language model.

The library has no list of tiny configs. So the sizes in an architecture's default config are made
small by their names, in the config of the language model and in those that it holds.
"""

import re
from pathlib import Path

import torch
from accelerate import init_empty_weights
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ARCHITECTURES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
MOST_PARAMETERS = 20_000_000
VOCABULARY = 96
HEADS = 4
# Sizes by the names of config keys; the first pattern that fits counts.
SIZES: list[tuple[str, int]] = [
    (r"^(vocab_size|num_embeddings)$", VOCABULARY),
    (r"(num_hidden_layers|^num_layers|n_layers?|decoder_layers|encoder_layers|num_blocks)$", 2),
    (r"(num_key_value_heads|num_kv_heads|n_head_kv|num_query_groups|multi_query_group_num)$", 2),
    (r"(mamba_n_heads|mamba_num_heads|linear_num_value_heads|linear_num_key_heads)$", HEADS),
    (
        r"(num_attention_heads|^num_heads|n_heads?|decoder_attention_heads|encoder_attention_heads)$",
        HEADS,
    ),
    (r"(moe_intermediate_size|shared_expert_intermediate_size|expert_ffn_hidden_size)$", 32),
    (
        r"(intermediate_size|ffn_dim|n_inner|ffn_hidden_size|inner_dim|mlp_dim|d_ff|intermediate_dim)$",
        128,
    ),
    (
        r"^(hidden_size|d_model|n_embd|dim|embedding_size|word_embed_proj_dim|attention_hidden_size|lru_width)$",
        64,
    ),
    (r"(qk_nope_head_dim|qk_head_dim)$", 16),
    (r"(qk_rope_head_dim|rotary_dim)$", 8),
    (
        r"(v_head_dim|head_dim|kv_channels|attention_head_size|mamba_d_head|mamba_head_dim|d_head|d_kv)$",
        16,
    ),
    (r"(kv_lora_rank|q_lora_rank|o_lora_rank|low_rank_dim)$", 32),
    (
        r"(num_experts_per_tok|num_experts_per_token|top_k_experts|moe_topk|moe_top_k|topk_group|moe_k|top_k)$",
        2,
    ),
    (r"(num_local_experts|num_experts|n_routed_experts|moe_num_experts|n_experts)$", 4),
    (r"(n_group|num_expert_group)$", 2),
    (r"(first_k_dense_replace|num_nextn_predict_layers)$", 0),
    (
        r"(max_position_embeddings|n_positions|n_ctx|seq_length|max_seq_len|context_length|max_target_positions)$",
        64,
    ),
    (r"(_token_id|padding_idx)$", 1),
]


def tiny(name: str) -> PreTrainedConfig:
    """A small config of an architecture."""
    kind = CONFIG_MAPPING[name]
    return kind(**_changes(kind().to_dict()))


def _changes(values: dict) -> dict:
    depth = next(
        (values[k] for k in ("num_hidden_layers", "n_layer", "num_layers") if k in values), None
    )
    changed = {}
    for key, value in values.items():
        if isinstance(value, dict) and key.endswith("_config"):
            changed[key] = _changes(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            size = next((size for pattern, size in SIZES if re.search(pattern, key)), None)
            changed |= {} if size is None else {key: size}
        elif (
            isinstance(value, list)
            and depth
            and len(value) == depth
            and key.endswith(("types", "type"))
        ):
            changed[key] = _kinds(value)
    return changed | _fitting(values)


def _fitting(values: dict) -> dict:
    """Sizes that must fit others: rotary ones of latent attention, heads of state space models."""
    if "kv_lora_rank" in values:
        latent = {"head_dim": 8, "num_key_value_heads": HEADS}
        return {key: size for key, size in latent.items() if key in values}
    states = {"mamba_n_heads": 8, "mamba_num_heads": 8, "mamba_d_head": 16, "mamba_head_dim": 16}
    if "expand" in values and "num_heads" in values:
        states |= {"num_heads": 8, "head_dim": 16}
    unset = {"head_dim": 16, "num_key_value_heads": 2}
    states |= {key: size for key, size in unset.items() if values.get(key, size) is None}
    return {key: size for key, size in states.items() if key in values}


def _kinds(value: list) -> list:
    """Two entries, of two kinds where there are two."""
    kinds = list(dict.fromkeys(value))
    return (kinds * 2)[:2]


def save_tiny(name: str, folder: Path) -> PreTrainedConfig:
    """Saves a tiny model with random weights; raises what transformers raises."""
    config = tiny(name)
    with init_empty_weights():
        count = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if count > MOST_PARAMETERS:
        raise ValueError(f"the tiny config has {count:,} parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return AutoConfig.from_pretrained(folder)
