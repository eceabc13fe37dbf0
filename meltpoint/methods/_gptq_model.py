"""Use of GPTQModel: checks of the model, loading, quantising, checks and cleaning afterwards."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from gptqmodel import GPTQModel, QuantizeConfig
from gptqmodel.looper import gptq_processor, loop_processor
from gptqmodel.models import BaseQModel, loader
from gptqmodel.models.auto import SUPPORTED_MODELS
from gptqmodel.utils import logger
from transformers import GenerationConfig

from meltpoint.compute import Compute
from meltpoint.errors import NotApplicable
from meltpoint.methods._gptq_zeros import ZeroKeepingGPTQ
from meltpoint.model import empty_model
from meltpoint.model.running import ask, recorders, stopping_at

WORD = 32
KEPT = ("config.json", "quantize_config.json", "model.safetensors.index.json")
# Loss that the library notes for a linear whose Hessian it could not factor.
NO_LOSS = 999999999


def check_widths(source: Path, group_size: int) -> None:
    """Raises NotApplicable for an architecture or a width that the library or its kernels refuse."""
    model = empty_model.build(source, torch.float32)
    family = model.config.model_type
    if family not in SUPPORTED_MODELS:
        raise NotApplicable(f"GPTQModel has no definition of the architecture {family}")
    for name, linear in empty_model.linears(empty_model.decoder_blocks(model)[1][0]).items():
        for side, width in (("inputs", linear.in_features), ("outputs", linear.out_features)):
            if width % WORD:
                raise NotApplicable(
                    f"GPTQ packs widths in multiples of {WORD}; {name} has {width} {side}"
                )
        if group_size != -1 and linear.in_features % group_size:
            raise NotApplicable(
                f"GPTQ's kernels want inputs in groups of {group_size}; {name} has "
                f"{linear.in_features}: set group_size to a divisor, or to -1"
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context without the library's tables, progress bars and logs in the working directory.

    The bars take a sixth of the time of a small model.
    """
    with contextlib.ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(mock.patch.object(loop_processor, "_PROJECT_LOG_DIR", logs))
        suppressed = mock.patch.object(logger, "_suppress_live_renderables", return_value=True)
        stack.enter_context(suppressed)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield


def load(source: Path, options: dict, compute: Compute) -> BaseQModel:
    """The library's model of a plain checkpoint, loaded without a tokenizer.

    The library would add tokens to a tokenizer. Neither quantising nor saving needs one here.
    """
    with mock.patch.object(loader, "load_hf_tokenizer", return_value=None):
        model = GPTQModel.load(
            str(source),
            QuantizeConfig(**options),
            dtype=compute.torch_dtype,
            attn_implementation=empty_model.attention_of(source),
        )
    # Saving would refuse some configs that transformers can read; the source's file is copied instead.
    model.model.generation_config = GenerationConfig()
    return model


def quantize(model: BaseQModel, windows: torch.Tensor, keep_zeros: bool) -> None:
    """Quantises all linears of the blocks in place, on unchanged windows, int64 [samples, length].

    Raises NotApplicable if the library would compute a linear's inputs wrongly, or could only round it.
    """
    check_arguments(model.model, windows[:1])
    batches = [{"input_ids": w[None], "attention_mask": torch.ones_like(w[None])} for w in windows]
    # The library's own preparation would drop, cut and sort the windows.
    model.prepare_dataset = lambda **_: batches
    gptq = ZeroKeepingGPTQ if keep_zeros else gptq_processor.GPTQ
    with mock.patch.object(gptq_processor, "GPTQ", gptq):
        try:
            model.quantize(batches, calibration_sort=None, batch_size=1)
        except ValueError as error:
            if "`NaN` loss" not in str(error):
                raise
            raise NotApplicable(f"GPTQ: {' '.join(str(error).split())}") from None
    check_log(model.quant_log, windows.numel())


@torch.no_grad()
def check_arguments(model: torch.nn.Module, window: torch.Tensor) -> None:
    """Raises NotApplicable if blocks get different arguments: the library gives all the first one's.

    Blocks differ if only some of them have masks of sliding windows that are shorter than `window`,
    [1, tokens], and if there are several kinds of rotary bases.
    """
    blocks = empty_model.decoder_blocks(model)[1]
    with recorders(blocks) as (first, *_), stopping_at(first):
        model(input_ids=window, use_cache=False)
    ask(blocks, first.hidden, first.arguments)
    with recorders(blocks) as stand_ins:
        model(input_ids=window, use_cache=False)
    for i, block in enumerate(stand_ins):
        if not same(block.arguments, stand_ins[0].arguments):
            raise NotApplicable(
                f"GPTQModel calls all blocks with the first one's mask and positions; block {i} of "
                f"this model has others in windows of {window.shape[1]} tokens"
            )


def same(one: object, other: object) -> bool:
    """True for equal arguments of a block: tensors, numbers, or tuples and dicts of them."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one is other or one == other


def check_log(log: list[dict], tokens: int) -> None:
    """Raises NotApplicable for a linear that missed tokens or was rounded without its Hessian."""
    for row in log:
        name = f"{row['module']} of block {row['layer']}"
        if int(row["samples"]) != tokens:
            raise NotApplicable(f"GPTQ: {name} saw {row['samples']} of {tokens} calibration tokens")
        if not float(row["loss"]) < NO_LOSS:
            raise NotApplicable(
                f"GPTQ: the Hessian of {name} cannot be factored: use more windows or more damp"
            )


def tidy(folder: Path) -> None:
    """Deletes logs, and companions that the library rewrites: the source's own are copied instead."""
    for file in folder.iterdir():
        if file.name not in KEPT and file.suffix != ".safetensors":
            file.unlink()
