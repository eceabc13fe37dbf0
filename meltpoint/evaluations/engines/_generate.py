"""Beam search by `generate` of transformers, with an engine's model."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel

from meltpoint.evaluations.engines import _requests
from meltpoint.evaluations.engines._model_engine import ModelEngine


class FiniteBeams(LogitsProcessor):
    """A logits processor that changes nothing, and remembers texts whose scores were NaN."""

    def __init__(self, texts: int) -> None:
        self.finite = [True] * texts

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The unchanged scores, float32 [texts x beams, vocabulary]."""
        holds = (~scores.isnan()).all(dim=-1).view(len(self.finite), -1).all(dim=-1).tolist()
        self.finite = [a and b for a, b in zip(self.finite, holds, strict=True)]
        return scores


@torch.no_grad()
def beam_search(
    engine: ModelEngine,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    beams: int,
    eos: frozenset[int],
) -> list[tuple[list[int], bool]]:
    """For each prompt the new tokens of its best text, and false if one of its scores was NaN.

    Prompts are padded on the left and masked. Raises MeltpointError for an empty prompt, and for one
    without room for the new tokens.
    """
    _requests.check_prompts(prompts, max_new_tokens, engine.context_length)
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    config = GenerationConfig(
        do_sample=False,
        num_beams=beams,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(eos) or None,
        pad_token_id=min(eos, default=0),
    )
    finite = FiniteBeams(len(prompts))
    device = engine.compute.torch_device
    with _config_of(engine.model, config):
        written = engine.model.generate(
            ids.to(device), attention_mask=mask.to(device), logits_processor=[finite]
        )
    texts = [_until_end(text, eos) for text in written[:, longest:].tolist()]
    return list(zip(texts, finite.finite, strict=True))


def _until_end(tokens: list[int], eos: frozenset[int]) -> list[int]:
    """The tokens up to the first end token, which is kept."""
    ends = (place + 1 for place, token in enumerate(tokens) if token in eos)
    return tokens[: next(ends, len(tokens))]


@contextlib.contextmanager
def _config_of(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """Context in which this is the model's own config of generation.

    `generate` fills the keys that a config leaves open from the model's own.
    """
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before
