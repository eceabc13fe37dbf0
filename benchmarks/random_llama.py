"""A Llama with random weights on disk, made block by block, for benchmarks."""

from pathlib import Path

import torch
from transformers import LlamaConfig

from meltpoint.checkpoints.io import Writer
from meltpoint.model import empty_model
from meltpoint.model.base_models import verify, write_description


def make(folder: Path, blocks: int, hidden: int = 1024, intermediate: int = 2816) -> Path:
    """A checkpoint in float32 with a vocabulary of 512, described as a base model."""
    folder.mkdir(parents=True)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=blocks,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=2048,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    model = empty_model.build(folder, torch.float32)
    name, layers = empty_model.decoder_blocks(model)
    writer, generator = Writer(folder), torch.Generator().manual_seed(0)
    names = empty_model.parameters_of(model, model, "")
    shapes = {n: model.get_parameter(n).shape for n in names}
    parts = [[n for n in names if not n.startswith(f"{name}.")]]
    parts += [empty_model.parameters_of(model, layers[i], f"{name}.{i}") for i in range(blocks)]
    for part in parts:
        writer.write({n: _random(shapes[n], generator) for n in part})
    writer.finish()
    write_description(folder, verify(folder))
    return folder


def _random(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    if len(shape) == 1:
        return torch.ones(shape)
    return torch.randn(shape, generator=generator) / shape[1] ** 0.5
