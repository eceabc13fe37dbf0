"""SVD-LLM: singular values are truncated after the inputs have been whitened.

``C = sum x x^T`` over all calibration tokens has the lower Cholesky factor ``S`` (in float64; a
singular C is shifted by ``1e-6`` less its least eigenvalue). Then ``W S = U D V^T`` (in float32):
dropping a singular value costs its square in the error of the linear's outputs. With the r largest
the linear becomes ``U_r sqrt(D_r)`` after ``sqrt(D_r) V_r^T S^-1``. The rank is that of `svd`.
Biases, zeros of earlier steps, earlier factors and `of=parameters` are treated as there. The inputs
of all blocks are those of the model before the step.

With `update` the second factor is then solved for again, in closed form: it minimises
``|U (D_r V_r^T S^-1) x - W x|`` over inputs x that the truncated model gives on the first
`update_windows` windows (sections 3.2 and 3.3 of the paper's first version).

The official code's classes assume as many kv heads as query heads. Here k and v get rectangular
factors, and `expand_kv` gives each query head a kv head of its own first.

Wang, Zheng, Wan and Zhang, "SVD-LLM: Truncation-aware Singular Value Decomposition for Large Language
Model Compression", ICLR 2025.
"""

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.errors import NotApplicable
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods._factors import FactorSettings, decompose, put, ranks, split, weights_of
from meltpoint.methods.contract import Block, Statistics, Tensor
from meltpoint.methods.settings import CalibratedSettings

activation_statistics = LazyModule("meltpoint.model.activation_statistics")

kind = "low-rank"
levels = (Sparsity,)
env = "torch"
statistics = ("hessian",)
dense_statistics = True

# Added to the least eigenvalue of a singular covariance, as in the official code.
SHIFT = 1e-6


class Settings(CalibratedSettings, FactorSettings):
    """The official code's settings."""

    update: bool = Field(
        False,
        description="Whether the second factors are fitted again, on the truncated model's inputs.",
    )
    update_windows: int = Field(
        16, ge=1, description="Number of windows that the update looks at. Default: 16."
    )

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: the update's windows where there is none."""
        return set() if self.update else {"update_windows"}


def compressed_windows(settings: Settings) -> int:
    """Number of windows that are followed through the truncated blocks."""
    return settings.update_windows if settings.update else 0


def compress_block(
    block: Block, statistics: dict[str, Statistics], level: Sparsity, settings: Settings
) -> None:
    """Replaces each of the block's linears by two factors, in place.

    Raises NotApplicable where there are fewer calibration tokens than inputs of a linear.
    """
    found = ranks("svd_llm", block, level, settings)
    weights, whitening = weights_of(block), {}
    for name, weight in weights.items():
        inputs = statistics.get(name) or statistics[f"{name}.0"]
        if id(inputs) not in whitening:
            whitening[id(inputs)] = _whitening(name, inputs, block)
        factor = whitening[id(inputs)]
        u, s, v = decompose(weight @ factor.float())
        rank = found[name]
        v = torch.linalg.solve_triangular(factor, v[:rank].double(), upper=False, left=False)
        put(block, name, split(u, s, v, rank))
    if settings.update:
        _update(block, weights)


def _whitening(name: str, inputs: Statistics, block: Block) -> Tensor:
    """Lower Cholesky factor [columns, columns] of the inputs' covariance, in float64."""
    covariance = inputs.hessian.double() * (inputs.windows / 2)
    width = len(covariance)
    if inputs.tokens < width:
        raise NotApplicable(
            f"svd_llm needs as many calibration tokens as {name} of block {block.index} has inputs: "
            f"{inputs.tokens} tokens cannot whiten {width}"
        )
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return factor
    least = torch.linalg.eigvalsh(covariance)[0]
    covariance.diagonal().add_(SHIFT - least)
    return torch.linalg.cholesky(covariance)


def _update(block: Block, weights: dict[str, Tensor]) -> None:
    """Fits the second factors to the inputs that the truncated block gets, in place."""
    firsts = {name: block.module.get_submodule(f"{name}.0") for name in weights}
    inputs = block.compressed_inputs
    collector = activation_statistics.Collector(firsts, ("hessian",), len(inputs))
    for batch in block.batches(len(inputs)):
        with collector.forward_pass(batch.stop - batch.start):
            block.forward(batch, inputs=inputs)
    collector.close()
    for name, first in firsts.items():
        covariance = collector.statistics[name].hessian.double()
        fitted = _fit(weights[name].double(), first.weight.double(), covariance)
        block.module.get_submodule(f"{name}.1").weight.copy_(fitted)


def _fit(weight: Tensor, first: Tensor, covariance: Tensor) -> Tensor:
    """The factor [rows, rank] that, after `first`, is nearest to the weight on such inputs.

    Among several the one of least norm: the covariance may be singular.
    """
    projected = first @ covariance
    return weight @ projected.T @ torch.linalg.pinv(projected @ first.T, hermitian=True)
