"""Greedy decoding on the texts that an engine is writing."""

from collections.abc import Sequence

import torch

from meltpoint.evaluations.engines._decoding import Decoding


def write(
    decoding: Decoding,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos: frozenset[int],
    processors: Sequence = (),
) -> list[list[int]]:
    """The new tokens of each text; each token has the largest processed logit.

    Rows of texts that have ended are removed, which saves computing their next tokens.
    """
    texts: list[list[int]] = [[] for _ in prompts]
    open_texts = list(range(len(prompts)))
    for step in range(max_new_tokens):
        read = [[*prompts[i], *texts[i]] for i in open_texts] if processors else []
        tokens = _process(decoding.logits, read, processors).argmax(dim=-1).tolist()
        for i, token in zip(open_texts, tokens, strict=True):
            texts[i].append(token)
        going_on = [row for row, token in enumerate(tokens) if token not in eos]
        if not going_on or step == max_new_tokens - 1:
            break
        if len(going_on) < len(open_texts):
            decoding.select(going_on)
            open_texts = [open_texts[row] for row in going_on]
        decoding.append([tokens[row] for row in going_on])
    return texts


def _process(logits: torch.Tensor, texts: list[list[int]], processors: Sequence) -> torch.Tensor:
    """The processed logits, float32 [rows, vocabulary]. Processors get one text at a time.

    texts: the tokens of each row's text, prompt included.
    """
    if not processors:
        return logits
    rows = []
    for scores, text in zip(logits.split(1), texts, strict=True):
        ids = torch.tensor([text], device=logits.device)
        for processor in processors:
            scores = processor(ids, scores)
        rows.append(scores)
    return torch.cat(rows)
