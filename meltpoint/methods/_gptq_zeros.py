"""GPTQ's loop over the columns with weights that stay zero.

GPTQModel's loop asks its quantizer for the rounded weights of one column after the other, and
compensates for any error of these. A quantizer that knows the pruned weights is therefore enough, if it
knows the order of the columns.
"""

import torch
from gptqmodel.quantization import GPTQ, gar
from gptqmodel.quantization.quantizer import Quantizer


class ZeroKeepingQuantizer(Quantizer):
    """Rounds pruned weights to zero, and leaves them out of their group's range.

    `pruned` are these weights, bool [rows, columns], in the order in which columns are rounded.
    """

    pruned: torch.Tensor
    column = 0

    def find_params(self, x: torch.Tensor, weight: bool = False) -> None:
        """Finds the scale and zero point of a group, without its pruned weights."""
        # Calls before the first column need no mask: pruned weights are still zero then.
        if self.column:
            x = x.masked_fill(self._next(x.shape[1]), 0)
        super().find_params(x, weight)

    def quantize(self, x: torch.Tensor) -> torch.Tensor:
        """The next column [rows, 1], rounded."""
        rounded = super().quantize(x).masked_fill(self._next(1), 0)
        self.column += 1
        return rounded

    def _next(self, count: int) -> torch.Tensor:
        return self.pruned[:, self.column : self.column + count]


class ZeroKeepingGPTQ(GPTQ):
    """GPTQModel's work on one linear whose zeros stay zero."""

    def create_quantizer(self, name: str) -> Quantizer:
        """Quantizer of a linear that keeps its zeros."""
        return ZeroKeepingQuantizer(qcfg=self.qcfg, name=name)

    def quantize(self, blocksize: int = 128) -> tuple:
        """Result of `GPTQ.quantize`; raises RuntimeError if a zero was lost all the same."""
        diagonal = self.finalize_hessian().diagonal()
        pruned = self.clone_module(device=diagonal.device) == 0
        self.quantizer.pruned = pruned[:, self._order(diagonal)]
        zeros = self.module.weight == 0
        result = super().quantize(blocksize)
        if result[0][zeros].any():
            raise RuntimeError(f"{self.name}: columns were not rounded in the order expected")
        return result

    def _order(self, diagonal: torch.Tensor) -> torch.Tensor:
        """The columns in the order in which they are rounded, as the library sorts them."""
        # The library sets the diagonal of columns without any input to 1 before it sorts.
        diagonal = torch.where(diagonal == 0, 1.0, diagonal)
        if self.qcfg.desc_act:
            return diagonal.argsort(descending=True)
        if not self.qcfg.act_group_aware:
            return torch.arange(self.columns, device=diagonal.device)
        size = self.qcfg.group_size
        within = gar.compute_local_perms(diagonal, size)
        groups = gar.compute_global_perm(diagonal, size)
        return gar.extend_perm_with_tail(gar.compose_final_perm(within, groups, size), self.columns)
