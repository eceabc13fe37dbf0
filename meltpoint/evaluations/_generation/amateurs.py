"""Amateurs of contrastive decoding: weaker models with the vocabulary of the model that is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.checkpoints.description import Description
from meltpoint.errors import MeltpointError, NotApplicable
from meltpoint.evaluations._decoding import Strategy
from meltpoint.evaluations.contract import Inputs

if TYPE_CHECKING:
    from meltpoint.evaluations.engines._engine import Engine


def check_amateurs(strategies: Sequence[Strategy], inputs: Inputs) -> None:
    """Raises MeltpointError for an amateur with another vocabulary, before anything is written."""
    for name in dict.fromkeys(each.amateur for each in strategies if each.amateur):
        amateur = inputs.checkpoints[name]
        if Description.read(amateur).status == "ok":
            _check_vocabulary(name, amateur, inputs)


def _check_vocabulary(name: str, amateur: Path, inputs: Inputs) -> None:
    from transformers import AutoConfig

    from meltpoint.data.tokenization import tokenizer_of

    both = (inputs.checkpoint, amateur)
    words, others = (tokenizer_of(folder).get_vocab() for folder in both)
    size, other = (AutoConfig.from_pretrained(f).get_text_config().vocab_size for f in both)
    if words != others or size != other:
        raise MeltpointError(
            f"{inputs.key}.strategies: the amateur {name} has another vocabulary than the model "
            f"({other} tokens against {size}): name one of the model's family"
        )


@contextlib.contextmanager
def open_amateur(strategy: Strategy, inputs: Inputs) -> Iterator[Engine | None]:
    """Context with the engine of a strategy's amateur, in float32; None for a strategy without one.

    Raises NotApplicable if the amateur's compression does not apply to its model.
    """
    if strategy.amateur is None:
        yield None
        return
    from meltpoint.evaluations.engines import open_engine

    checkpoint = inputs.checkpoints[strategy.amateur]
    description = Description.read(checkpoint)
    if description.status != "ok":
        raise NotApplicable(f"the amateur {strategy.amateur}: {description.reason}")
    with open_engine(checkpoint, replace(inputs.compute, dtype="float32")) as amateur:
        yield amateur
