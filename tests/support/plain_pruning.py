"""Wanda and SparseGPT on a whole Llama in memory, from the papers' formulas with transformers alone.

Nothing of Meltpoint is used: these are what its own numbers are compared with.
"""

from collections.abc import Callable

import torch
from transformers import LlamaForCausalLM

# Takes a weight [rows, columns] and the inputs of its linear [tokens, columns], prunes it in place.
Prune = Callable[[torch.Tensor, torch.Tensor], None]


@torch.no_grad()
def prune_model(model: LlamaForCausalLM, windows: torch.Tensor, prune: Prune) -> None:
    """Prunes all linears of the blocks, first block first, on the inputs that pruned blocks give.

    windows: the calibration's tokens, int64 [windows, length].
    """
    body = model.model
    positions = torch.arange(windows.shape[1])[None]
    hidden = [body.embed_tokens(window[None]) for window in windows]
    rotary = body.rotary_emb(hidden[0], positions)

    def run(block, states):
        # Without a mask transformers' attention is causal.
        return block(states, attention_mask=None, position_embeddings=rotary)

    for block in body.layers:
        inputs = {m: [] for m in block.modules() if isinstance(m, torch.nn.Linear)}
        hooks = [
            linear.register_forward_hook(lambda _, given, __, to=seen: to.append(given[0][0]))
            for linear, seen in inputs.items()
        ]
        for states in hidden:
            run(block, states)
        for hook in hooks:
            hook.remove()
        for linear, seen in inputs.items():
            prune(linear.weight, torch.cat(seen))
        hidden = [run(block, states) for states in hidden]


def wanda(fraction: float) -> Prune:
    """Of each row the weights of the lowest ``|W_ij| ||x_j||_2`` go (Sun et al. 2024, equation 1)."""

    def prune(weight: torch.Tensor, inputs: torch.Tensor) -> None:
        score = weight.abs() * inputs.norm(dim=0)
        lowest = score.argsort(dim=1, stable=True)[:, : int(weight.shape[1] * fraction)]
        weight.scatter_(1, lowest, 0)

    return prune


def wanda_pattern(kept: int, group: int) -> Prune:
    """Of each `group` consecutive weights of a row the `kept` with the highest score stay."""

    def prune(weight: torch.Tensor, inputs: torch.Tensor) -> None:
        score = (weight.abs() * inputs.norm(dim=0)).unflatten(1, (-1, group))
        lowest = score.argsort(dim=2, stable=True)[:, :, : group - kept]
        mask = torch.zeros_like(score, dtype=torch.bool).scatter_(2, lowest, True)
        weight[mask.flatten(1)] = 0

    return prune


def sparsegpt(fraction: float, blocksize: int = 128, damping: float = 0.01) -> Prune:
    """Algorithm 1 of Frantar and Alistarh 2023, with the mask chosen for `blocksize` columns at a time.

    ``H = X X^T + lambda I`` with lambda the share `damping` of the mean of H's diagonal. The inverse's
    upper Cholesky factor holds what each column's error costs and where it goes.
    """

    def prune(weight: torch.Tensor, inputs: torch.Tensor) -> None:
        hessian = inputs.T.double() @ inputs.double()
        dead = hessian.diagonal() == 0
        hessian.diagonal()[dead] = 1
        weight[:, dead] = 0
        hessian.diagonal().add_(damping * hessian.diagonal().mean())
        factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
        left = weight.double()
        for start in range(0, weight.shape[1], blocksize):
            columns = slice(start, min(start + blocksize, weight.shape[1]))
            part, local = left[:, columns].clone(), factor[columns, columns]
            cost = (part / local.diagonal()) ** 2
            threshold = cost.flatten().sort().values[int(cost.numel() * fraction)]
            mask, errors = cost <= threshold, torch.zeros_like(part)
            for j in range(part.shape[1]):
                kept = part[:, j].masked_fill(mask[:, j], 0)
                errors[:, j] = (part[:, j] - kept) / local[j, j]
                part[:, j:] -= errors[:, j, None] * local[j, j:]
                part[:, j] = kept
            left[:, columns] = part
            left[:, columns.stop :] -= errors @ factor[columns, columns.stop :]
        weight.copy_(left)

    return prune
