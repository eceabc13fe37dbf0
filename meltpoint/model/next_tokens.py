"""Cross-entropy of the tokens that follow, from logits."""

import torch
from torch import nn

# Label of a token that does not count, as transformers spells it.
NO_TOKEN = -100


def next_token_losses(
    logits: torch.Tensor, labels: torch.Tensor, reduction: str = "none"
) -> torch.Tensor:
    """Cross-entropy of each label given the logits of the token before it, at least in float32.

    logits: [windows, tokens, vocabulary]. labels: int64 [windows, tokens], `NO_TOKEN` for no token.
    Returns [windows, tokens], of which the last token of a window, which nothing follows, is zero; or
    with `reduction="sum"` the sum.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # A row for each token, the last one's too: PyTorch would copy a part of the logits, and where the
    # vocabulary is not their last axis it adds up its probabilities one by one, with an error of 1e-4.
    following = nn.functional.pad(labels[:, 1:], (0, 1), value=NO_TOKEN).to(logits.device)
    losses = nn.functional.cross_entropy(
        logits.flatten(0, 1), following.flatten(), ignore_index=NO_TOKEN, reduction=reduction
    )
    return losses if reduction == "sum" else losses.view_as(following)
