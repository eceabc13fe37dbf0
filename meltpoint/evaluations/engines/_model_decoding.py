"""Texts that a model of transformers is writing, over its cache of keys and values."""

import inspect
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from meltpoint.errors import NotApplicable
from meltpoint.evaluations.engines._decoding import Decoding


class ModelDecoding(Decoding):
    """A decoding over the cache of transformers.

    Prompts are padded on the left, so that the next tokens of all rows have the same place in the
    cache. The attention mask leaves the padding out, and positions count from a row's first token.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        device: torch.device,
        hidden_states: bool,
    ) -> None:
        self._model, self._device, self._wants_hidden = model, device, hidden_states
        # BLOOM and similar models take no positions: they count them in the attention mask.
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._cache = None
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        self._mask = torch.zeros(len(prompts), longest, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
            self._mask[row, longest - len(prompt) :] = 1
        self._read(ids.to(device))

    @torch.no_grad()
    def append(self, tokens: Sequence[int]) -> None:
        """Lets the model read one more token in each row."""
        ids = torch.tensor(list(tokens), device=self._device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        self._read(ids)

    @torch.no_grad()
    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows, in this order; a row may be left out or repeated."""
        index = torch.tensor(list(rows), device=self._device)
        self._cache.reorder_cache(index)
        self._mask, self.logits = self._mask[index], self.logits[index]
        if self.hidden_states is not None:
            self.hidden_states = tuple(states[index] for states in self.hidden_states)

    @torch.no_grad()
    def layer_logits(self, layer: int) -> torch.Tensor:
        """Logits of a layer, float32 [rows, vocabulary]: the head on its states at each last token.

        Raises NotApplicable if the layer's states have another width than the head reads.
        """
        head, states = self._model.get_output_embeddings(), self.hidden_states[layer][:, -1]
        if head.weight.shape[1] != states.shape[-1]:
            raise NotApplicable(
                f"the head reads {head.weight.shape[1]} numbers and a layer's hidden state has "
                f"{states.shape[-1]}: earlier layers cannot be read by it"
            )
        return head(states).float()

    def _read(self, ids: torch.Tensor) -> None:
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            output_hidden_states=self._wants_hidden,
            **({"position_ids": positions} if self._takes_positions else {}),
        )
        self._cache = output.past_key_values
        self.logits = output.logits[:, -1].float()
        self.hidden_states = output.hidden_states if self._wants_hidden else None
