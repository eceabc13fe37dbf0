"""A tiny GGUF file, written here without llama.cpp: its model, its tokenizer and its metadata."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from meltpoint.llamacpp.architecture import ARCHITECTURES, heads_to_permute, permute
from meltpoint.llamacpp.file import tensor_names
from tests.support.tiny_study import VOCABULARY, sentences, train_tokenizer, write_model

Q4_1, F16 = gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.F16


def write(
    file: Path,
    quantized: gguf.GGMLQuantizationType = Q4_1,
    metadata: dict[str, object] | None = None,
    replaced: dict[str, np.ndarray] | None = None,
    pre: str = "gpt-2",
    texts: list[str] | None = None,
    **config: object,
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Writes a random Llama of two blocks, its linears in one type; returns it and its tokenizer.

    metadata: keys to add, or to leave out where the value is None. replaced: tensors that stand in
    the place of those of their names. texts: what the tokenizer is trained on. config: keys of the
    model's config.
    """
    tokenizer = train_tokenizer(texts or sentences(), 300 if texts else VOCABULARY)
    model = write_model(file.parent / "unrounded", vocab_size=len(tokenizer), **config)
    writer = gguf.GGUFWriter(file, "llama")
    entries = {**_metadata(model.config), **_tokenizer(tokenizer, pre), **(metadata or {})}
    for key, value in entries.items():
        _add(writer, key, value)
    for name, tensor in _tensors(model).items():
        if name in (replaced or {}):
            writer.add_tensor(name, replaced[name])
            continue
        is_linear = name.startswith("blk.") and tensor.ndim == 2
        kind = quantized if is_linear else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def _metadata(config) -> dict[str, object]:
    return {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.dimension_count": config.hidden_size // config.num_attention_heads,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": config.vocab_size,
    }


def _tokenizer(tokenizer, pre: str) -> dict[str, object]:
    spec = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(spec["vocab"], key=spec["vocab"].get)
    types = [int(gguf.TokenType.CONTROL if t == "<s>" else gguf.TokenType.NORMAL) for t in tokens]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in spec["merges"]],
        "tokenizer.ggml.bos_token_id": tokens.index("<s>"),
        # Another token than the first, so that the two cannot be mistaken.
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
    }


def _add(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _tensors(model) -> dict[str, np.ndarray]:
    """The model's weights by their names in the file, queries and keys as llama.cpp has them."""
    names = tensor_names("llama", model.config.num_hidden_layers)
    found = {}
    for name, tensor in model.named_parameters():
        heads = heads_to_permute(name, model.config, ARCHITECTURES["llama"])
        tensor = permute(tensor, heads) if heads else tensor
        found[names.get_name(name, try_suffixes=(".weight",))] = tensor.detach().numpy()
    return found


def rounded(model: LlamaForCausalLM, kind: gguf.GGMLQuantizationType) -> LlamaForCausalLM:
    """The model with its blocks' linears as the file's type holds them.

    Rows are rounded one by one, so that their order in the file is no matter.
    """
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            if parameter.dim() == 2:
                stored = gguf.quantize(parameter.detach().numpy(), kind)
                parameter.copy_(torch.from_numpy(gguf.dequantize(stored, kind)))
    return model
