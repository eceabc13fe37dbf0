"""SVD: each linear becomes two by the truncated singular value decomposition of its weight.

``W = U S V^T``; with the r largest singular values the linear becomes ``U_r sqrt(S_r)`` after
``sqrt(S_r) V_r^T``, the nearest product of rank r to the weight alone. At a level L the rank of a
matrix of m x n numbers is ``r = int(m n (1 - L) / (m + n))``, so that about L of its numbers are gone.
The bias stays with the second factor. Embeddings, norms and the head stay as they are.

It is the baseline for `svd_llm` and `asvd`, which look at activations. The factors are dense: zeros
and quantization grids of earlier steps are gone from the linears. On factors of an earlier step it
works on their product. With `of=parameters` all blocks keep the same fraction of their parameters.

Eckart and Young, "The approximation of one matrix by another of lower rank", Psychometrika 1936.
"""

from meltpoint.chain import Sparsity
from meltpoint.methods._factors import FactorSettings, decompose, put, ranks, split, weights_of
from meltpoint.methods.contract import Block, Statistics

kind = "low-rank"
levels = (Sparsity,)
env = "torch"


class Settings(FactorSettings):
    """Meaning of the level, and the heads."""


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Replaces each of the block's linears by two factors, in place."""
    found = ranks("svd", block, level, settings)
    for name, weight in weights_of(block).items():
        put(block, name, split(*decompose(weight), found[name]))
