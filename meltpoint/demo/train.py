"""Trains the demo model."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from meltpoint.demo import text, tokenizer
from meltpoint.demo.muon import Muon
from meltpoint.demo.training_settings import TrainingSettings
from meltpoint.errors import MeltpointError

# Saving would draw a progress bar, even into a log file.
transformers_logging.disable_progress_bar()


def train(folder: Path, settings: TrainingSettings) -> dict[str, float]:
    """Trains a model, saves it as a Hugging Face folder, and returns facts about it.

    These are `steps`, `seconds`, `loss` (nats per token, mean of the last steps), `perplexity` and
    `bits_per_byte` of the held-out text, and `parameters`.

    Raises:
        MeltpointError: the train text is too short for a batch, or the loss is not finite.
    """
    started = time.monotonic()
    words = tokenizer.train(text.documents("train"), settings.vocabulary, settings.context)
    with _threads(settings.threads):
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(_config(settings, words))
        loss = _fit(model, _tokens(words), settings)
        reached = held_out(model, words, settings.context)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return {
        "steps": settings.steps,
        "seconds": round(time.monotonic() - started, 1),
        "loss": loss,
        **reached,
        "parameters": model.num_parameters(),
    }


def held_out(
    model: LlamaForCausalLM, words: PreTrainedTokenizerFast, window: int
) -> dict[str, float]:
    """`perplexity` and `bits_per_byte` of the test split, in windows that do not overlap.

    All tokens of a window but the first are predicted. Bytes are those of the predicted tokens, so
    that models with different vocabularies can be compared.
    """
    tokens = torch.tensor(words("\n\n".join(text.documents("test")), verbose=False)["input_ids"])
    windows = tokens[: len(tokens) // window * window].view(-1, window)
    with torch.inference_mode():
        nll = torch.cat([_nll(model, batch) for batch in windows.split(16)]).double()
    counted = torch.tensor(tokenizer.byte_lengths(words))[windows[:, 1:]].sum()
    bits = nll.sum() / math.log(2) / counted
    return {"perplexity": math.exp(nll.mean()), "bits_per_byte": bits.item()}


def _nll(model: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    logits = model(windows[:, :-1], use_cache=False).logits
    following = windows[:, 1:]
    losses = functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none")
    return losses.view_as(following)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _config(settings: TrainingSettings, words: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=settings.tied,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=None,
        dtype="float32",
    )


def _tokens(words: PreTrainedTokenizerFast) -> torch.Tensor:
    documents = "".join(f"{tokenizer.END}{part}\n\n" for part in text.documents("train"))
    return torch.tensor(words(documents, verbose=False)["input_ids"])


def _batches(tokens: torch.Tensor, settings: TrainingSettings) -> Iterator[torch.Tensor]:
    """Yields the training's batches, int64 [windows, length + 1]: short windows first, then long ones.

    A model that has only seen short windows gets worse beyond their length.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    short = settings.steps - int(settings.grown * settings.steps)
    long_batch = max(1, settings.batch * settings.length // settings.context)
    yield from islice(_windows(tokens, settings.length, settings.batch, generator), short)
    yield from _windows(tokens, settings.context, long_batch, generator)


def _windows(
    tokens: torch.Tensor, length: int, batch: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yields batches [batch, length + 1] without end; each epoch has another offset and order.

    Raises MeltpointError for a text that is too short for a batch.
    """
    positions = torch.arange(length + 1)
    while True:
        offset = int(torch.randint(length, (1,), generator=generator))
        count = (len(tokens) - offset - 1) // length
        if count < batch:
            raise MeltpointError(f"{len(tokens)} tokens of text are too few for a batch of {batch}")
        starts = offset + length * torch.randperm(count, generator=generator)
        for chosen in starts[: count // batch * batch].split(batch):
            yield tokens[chosen[:, None] + positions]


def _fit(model: LlamaForCausalLM, tokens: torch.Tensor, settings: TrainingSettings) -> float:
    hooks = _drop(model, settings.dropout)
    model.train()
    optimizers = _optimizers(model, settings)
    losses = []
    for step, batch in zip(_progress(settings.steps), _batches(tokens, settings), strict=False):
        losses.append(_step(model, optimizers, batch, 1 - step / settings.steps))
        if not math.isfinite(losses[-1]):
            raise MeltpointError(
                f"the loss of step {step} is {losses[-1]}: lower matrix_rate or other_rate"
            )
    model.eval()
    for hook in hooks:
        hook.remove()
    last = losses[-50:]
    return sum(last) / len(last)


def _drop(model: LlamaForCausalLM, share: float) -> list:
    """Adds dropout behind the embedding and both halves of each block; returns the hooks' handles.

    A Llama has no setting for it.
    """
    modules = [model.model.embed_tokens]
    for block in model.model.layers:
        modules += [block.self_attn.o_proj, block.mlp.down_proj]

    def drop(module: torch.nn.Module, _: tuple, output: torch.Tensor) -> torch.Tensor:
        return functional.dropout(output, share, module.training)

    return [module.register_forward_hook(drop) for module in modules]


def _optimizers(model: LlamaForCausalLM, settings: TrainingSettings) -> list[torch.optim.Optimizer]:
    linears = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    known = {id(weight) for weight in linears}
    others = [weight for weight in model.parameters() if id(weight) not in known]
    optimizers = [
        Muon(linears, settings.matrix_rate, settings.momentum, settings.weight_decay),
        torch.optim.AdamW(others, settings.other_rate, (0.8, 0.95), 1e-10, 0.0, fused=True),
    ]
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["peak"] = group["lr"]
    return optimizers


def _step(model: LlamaForCausalLM, optimizers: list, batch: torch.Tensor, rate: float) -> float:
    logits = model(batch[:, :-1], use_cache=False).logits
    loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["peak"]
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def _progress(steps: int) -> Iterator[int]:
    """Yields the steps, with a bar on a terminal, or a line for each tenth of them in a log file."""
    if sys.stderr.isatty():
        yield from tqdm(range(steps), unit="step")
        return
    started = time.monotonic()
    for step in range(steps):
        yield step
        if (step + 1) * 10 // steps > step * 10 // steps:
            seconds = time.monotonic() - started
            print(f"step {step + 1} of {steps}, {seconds:.0f} s", file=sys.stderr, flush=True)
