"""A study small enough to run in a minute: its model, its texts and tokens, its YAML."""

import json
import random
from pathlib import Path

import numpy as np
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 128

STUDY = """
study: tiny
models:
  tiny: {path: model}
  other: {path: other}
corpora:
  prose: {path: prose.txt}
  notes: {path: notes.jsonl}
  fixed: {tokens: tokens.npy}
calibrations:
  default: {corpus: prose, samples: 8, length: 16}
  notes: {corpus: notes, samples: 8, length: 16, sampling: documents}
  given: {windows: windows.npy}
evaluations:
  prose-32: {perplexity: prose, window: 32}
  fixed-32: {perplexity: fixed, window: 32}
  bits: {size: weights}
sweeps:
  pruning:
    models: [tiny]
    methods: [magnitude, wanda, sparsegpt]
    levels: [0.5, "2:4"]
    evaluations: [prose-32]
chains:
  order: {models: [tiny], chains: [magnitude@0.25+wanda@0.5], evaluations: [fixed-32]}
  calibrations:
    models: [tiny]
    chains: ["wanda@0.5,calibration=notes", "wanda@0.5,calibration=given"]
    evaluations: [bits]
  other: {models: [other], chains: [magnitude@0.5], evaluations: [bits]}
tables:
  pruning: {source: pruning, value: prose-32, error: true}
  calibrations: {source: calibrations, value: bits}
figures:
  pruning: {source: pruning, value: prose-32, fit: transition}
compute: {device: cpu}
"""


def write(folder: Path) -> None:
    """Writes the study and all that it names into a folder."""
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(STUDY)
    lines = sentences()
    (folder / "prose.txt").write_text("\n".join(lines))
    write_notes(folder / "notes.jsonl", lines[:20])
    draw = np.random.default_rng(0)
    np.save(folder / "tokens.npy", draw.integers(0, VOCABULARY, 2000))
    np.save(folder / "windows.npy", draw.integers(0, VOCABULARY, (4, 16)))
    for seed, name in enumerate(("model", "other")):
        write_model(folder / name, seed)
        train_tokenizer(lines).save_pretrained(folder / name)


def study() -> dict:
    return yaml.safe_load(STUDY)


def sentences(count: int = 40) -> list[str]:
    """Lines of thirty words of no language."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 6))) for _ in range(60)]
    return [" ".join(draw.choices(words, k=30)) for _ in range(count)]


def write_notes(file: Path, texts: list[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def write_model(folder: Path, seed: int = 0, **config: object) -> LlamaForCausalLM:
    """Saves a random Llama of two blocks and 25 thousand weights."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    model = LlamaForCausalLM(
        LlamaConfig(
            **{
                "vocab_size": VOCABULARY,
                "num_hidden_layers": 2,
                "max_position_embeddings": 64,
                **sizes,
                **config,
            }
        )
    )
    model.save_pretrained(folder)
    return model


def train_tokenizer(
    lines: list[str], vocabulary: int = VOCABULARY, every_byte: bool = False
) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer of these lines; without `every_byte` what they lack has no token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if every_byte else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
