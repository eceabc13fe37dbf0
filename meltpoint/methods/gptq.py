"""GPTQ: columns are rounded one after the other, each one's error made up for by those to come.

With ``H = 2/n X^T X`` of a linear's inputs X [n tokens, C] on the calibration windows and the upper
Cholesky factor U of ``(H + d mean(diag H) I)^-1``, every column c of the weight in turn becomes
``w^_c = s (clamp(round(w_c / s) + z, 0, 2^b - 1) - z)``, and of the columns k after it
``w_k -= (w_c - w^_c) U_ck / U_cc``. Scale s and zero point z are those of a group of `group_size`
columns, from its weights as they are when its first column comes up: with `symmetric`
``s = 2 max|w| / (2^b - 1)`` and ``z = 2^(b-1)``, else ``s = (max - min) / (2^b - 1)`` and
``z = round(-min / s)``, max and min over the group and 0. Columns that no token excites become 0.

GPTQModel, the successor of AutoGPTQ, does the work with its defaults. They are not the paper's:
symmetric grids in groups of 128, `damp` 0.05 (the paper's code has 0.01), and groups and their
columns sorted by ``diag H`` (`act_group_aware`: Gafni, Karnieli and Hanani, "Dual Precision
Quantization", CVPR workshops 2025). The columns go back to their places afterwards; `desc_act`
leaves them in the order of ``diag H``. By itself the library leaves out calibration windows of 10
tokens or less, cuts long ones and takes the longest first. Here it gets the windows as they are,
one at a time. Where ``H`` cannot be used, the library would round to nearest; here the step is not
applicable, with the reason.

The checkpoint is in the layout that GPTQModel, vLLM and transformers load: scales in float16, and
so are the biases of its linears. Its `checkpoint_format` is gptq; with asymmetric grids gptq_v2,
since the first version has no room for a zero point of 0. Kernels of the format want widths in
multiples of 32, and inputs in whole groups: other widths are not applicable. Models whose blocks
are called differently (Gemma 2 with windows longer than its sliding ones) are not applicable
either, because the library calls all blocks like the first.

In a chain, zero is on the grid, but the errors of earlier columns move a pruned weight off zero:
one to three in a hundred pruned weights came back in small trained models. So here a weight that
was zero is set to zero when its column comes up, whatever has been added to it. The columns after
it make up for that like for any other error. Such a weight does not count in its group's range.
`keep_zeros=false` is the library's way. For a model without zeros both are the same.

Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", ICLR 2023; GPTQModel 7.6.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from meltpoint.chain import Bits
from meltpoint.compute import Compute
from meltpoint.lazy_import import torch
from meltpoint.methods.contract import Context, Resources
from meltpoint.methods.settings import CalibratedSettings
from meltpoint.text import one_of

kind = "quantization"
levels = (Bits,)
bits = (2, 3, 4, 8)
env = "quantization"
libraries = ("gptqmodel", "optimum")
resources = Resources(memory=3.0)
updates_weights = True
needs_regular_shapes = True
agrees_with_transformers = False
representative_level = "4bit"
stores_biases_in = "float16"

GROUP_SIZES = (-1, 16, 32, 64, 128, 256, 512, 1024)
# Settings of GPTQModel. It needs two threads at least; each linear belongs to one thread, so that the
# number changes no result. Its C++ packer would be compiled first, and its Python packer gives equal
# codes.
ENVIRONMENT = {"GPTQMODEL_CPU_WORKERS": "2", "GPTQMODEL_DISABLE_PACK_EXT": "1"}


def known_size(size: int) -> int:
    """The group size, -1 for 0; raises ValueError for a size that the library's kernels lack."""
    if (size or -1) not in GROUP_SIZES:
        raise ValueError(f"group_size is {one_of(map(str, GROUP_SIZES))}, not {size}")
    return size or -1


class Settings(CalibratedSettings):
    """The grids, and in which order columns are rounded."""

    group_size: Annotated[int, AfterValidator(known_size)] = Field(
        128, description="Number of columns of a row that share a scale. -1 (or 0): the whole row."
    )
    symmetric: bool = Field(
        True, description="Whether the grid's middle is zero, without zero points."
    )
    damp: float = Field(
        0.05, gt=0, lt=1, description="Share of its mean that is added to the Hessian's diagonal."
    )
    damp_increment: float = Field(
        0.01, ge=0, description="Step that `damp` grows by until the Hessian can be factored."
    )
    act_group_aware: bool = Field(
        True, description="Whether groups, and columns in them, are in order of activations."
    )
    desc_act: bool = Field(
        False, description="Whether all columns are in order of activations, and grouped so."
    )
    mse: float = Field(
        0.0,
        ge=0,
        description="Power of the error that ranges are shrunk to minimise. 0: not shrunk.",
    )
    true_sequential: bool = Field(
        True, description="Whether inputs come through linears that are quantised already."
    )
    keep_zeros: bool = Field(True, description="Whether weights that are zero stay zero.")

    @property
    def grouped_order(self) -> bool:
        """True if groups are sorted: there are several, and `desc_act` does not sort all columns."""
        return self.act_group_aware and not self.desc_act and self.group_size != -1

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: `act_group_aware` if groups cannot be sorted."""
        return {"act_group_aware"} if self.desc_act or self.group_size == -1 else set()


def compress(source: Path, target: Path, level: Bits, settings: Settings, context: Context) -> None:
    """Quantises the checkpoint by GPTQModel; raises NotApplicable if the library cannot do it."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from meltpoint.methods import _gptq_model as library

    library.check_widths(source, settings.group_size)
    with library.quiet(), torch.random.fork_rng(devices=[]):
        model = library.load(
            source, options(level.bits, settings, context.compute), context.compute
        )
        library.quantize(model, context.windows, settings.keep_zeros)
        model.save(str(target))
    library.tidy(target)


def options(bits: int, settings: Settings, compute: Compute) -> dict:
    """The settings by their names in GPTQModel."""
    return {
        "bits": bits,
        "group_size": settings.group_size,
        "sym": settings.symmetric,
        "format": "gptq" if settings.symmetric else "gptq_v2",
        "damp_percent": settings.damp,
        "damp_auto_increment": settings.damp_increment,
        "act_group_aware": settings.grouped_order,
        "desc_act": settings.desc_act,
        "mse": settings.mse,
        "true_sequential": settings.true_sequential,
        "fallback": None,
        "offload_to_disk": False,
        "auto_forward_data_parallel": False,
        "device": str(compute.torch_device),
    }
