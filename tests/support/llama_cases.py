"""Models of Llama's family that GGUF files are written of: a family, and changes of its tiny config."""


def llama3_rope(context: int) -> dict:
    """Llama 3.1's rotary parameters, for an original context of so many tokens."""
    return {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": context,
    }


# Gemma's scale of attention scores, as its tiny models have it.
HEAD = {"query_pre_attn_scalar": 16}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LLAMA_CASES = {
    "llama": ("llama", {}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, wide heads": ("llama", {"head_dim": 64}),
    "llama, linear": ("llama", {"rope_parameters": LINEAR}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
}
