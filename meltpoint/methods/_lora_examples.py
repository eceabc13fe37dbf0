"""Training examples, windows or records: their order, and the tokens that count in the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from meltpoint.data.training_text import TrainingText
from meltpoint.errors import MeltpointError
from meltpoint.methods._lora_settings import Settings
from meltpoint.model.next_tokens import NO_TOKEN


@dataclass(frozen=True)
class Example:
    """Tokens, int64 [tokens]; the first `read_only` of them (one, or a prompt) have no loss."""

    tokens: torch.Tensor
    read_only: int


class Examples(torch.utils.data.Dataset):
    """A data set of examples in the order of their numbers in `order`."""

    def __init__(self, examples: Sequence[Example], order: np.ndarray | None = None) -> None:
        self.examples = examples
        self.order = range(len(examples)) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Example:
        return self.examples[self.order[place]]


def examples_of(text: TrainingText, settings: Settings) -> list[Example]:
    """Examples of a text: windows, or records whose response begins within `length` tokens.

    Raises MeltpointError for a text that gives none.
    """
    if text.tokens.ndim == 2:
        return [Example(_tensor(row), 1) for row in text.tokens]
    if text.offsets is not None:
        return _records(text, settings.length)
    count = len(text.tokens) // settings.length
    if not count:
        raise MeltpointError(
            f"{text.source} has {len(text.tokens)} tokens, a window of {settings.length} needs more: "
            "use a shorter length, or a longer text"
        )
    windows = text.tokens[: count * settings.length].reshape(count, settings.length)
    return [Example(_tensor(row), 1) for row in windows]


def _tensor(tokens: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(tokens).long()


def _records(text: TrainingText, length: int) -> list[Example]:
    ends = zip(text.offsets[:-1], text.offsets[1:], text.responses, strict=True)
    records = [
        Example(_tensor(text.tokens[start : min(end, start + length)]), max(1, prompt))
        for start, end, prompt in ends
        if prompt < min(end - start, length) > 1
    ]
    if not records:
        raise MeltpointError(
            f"{text.source}: no record's response begins within {length} tokens: use a longer length"
        )
    return records


def split(
    settings: Settings, texts: dict[str, TrainingText]
) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and examples to validate on; the latter are empty without validation.

    Raises MeltpointError for a text without examples, and for a share that is none or all of them.
    """
    examples = examples_of(texts["data"], settings)[: settings.samples]
    if "validation" in texts:
        return examples, examples_of(texts["validation"], settings)
    if settings.validation is None:
        return examples, []
    share = settings.validation
    count = int(share if share >= 1 else share * len(examples))
    if not 0 < count < len(examples):
        raise MeltpointError(
            f"lora: validation={share:g} takes {count} of {len(examples)} windows: choose another "
            "share, or a longer text"
        )
    order = np.random.default_rng([settings.seed, 1]).permutation(len(examples))
    chosen = set(order[:count].tolist())
    parts = ([], [])
    for place, example in enumerate(examples):
        parts[place in chosen].append(example)
    return parts


def steps_of(settings: Settings, count: int) -> int:
    """Number of steps of the optimiser for `count` examples."""
    if settings.steps is not None:
        return settings.steps
    return max(1, round(settings.epochs * count / settings.batch))


def order_of(settings: Settings, count: int, steps: int) -> np.ndarray:
    """Number of the example at each place of the training, int64 [steps x batch].

    Each epoch is a permutation of its own.
    """
    needed, epoch, parts = steps * settings.batch, 0, []
    while sum(map(len, parts)) < needed:
        parts.append(np.random.default_rng([settings.seed, 0, epoch]).permutation(count))
        epoch += 1
    return np.concatenate(parts)[:needed]


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """A batch: tokens and labels, int64 [examples, longest].

    Shorter examples are padded on the right, where no token attends to the padding.
    """
    longest = max(len(example.tokens) for example in examples)
    tokens = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full_like(tokens, NO_TOKEN)
    for row, example in enumerate(examples):
        size = len(example.tokens)
        tokens[row, :size] = example.tokens
        labels[row, example.read_only : size] = example.tokens[example.read_only :]
    return {"input_ids": tokens, "labels": labels}
