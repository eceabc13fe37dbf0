"""Export of a checkpoint as an ordinary Hugging Face folder that gives the same logits.

Cut heads and channels become zeros, factors are multiplied out, packed weights are decoded. Added
biases need an architecture that has them. The folder can be read by transformers without Meltpoint.
"""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from meltpoint.checkpoints.io import Reader, Writer, copy_companions
from meltpoint.errors import NotApplicable
from meltpoint.export.folders import check_folders
from meltpoint.files import whole_folder
from meltpoint.model import empty_model
from meltpoint.model.configs import read_config, read_json, stored_dtype
from meltpoint.model.ordinary import (
    check_block,
    check_norms,
    config_changes,
    model_of,
    ordinary_tensors,
)
from meltpoint.model.stored_layout import as_stored, follow


def export(checkpoint: Path, target: Path) -> None:
    """Writes the new folder `target` block by block.

    Raises MeltpointError if `checkpoint` is not a checkpoint or `target` exists. Raises NotApplicable
    if no ordinary folder can give the checkpoint's logits.
    """
    check_folders(checkpoint, target)
    dtype = stored_dtype(checkpoint)
    source = empty_model.build(checkpoint, dtype)
    reader = Reader(checkpoint, dtype, torch.device("cpu"))
    if reader.format is not None and reader.format.inputs():
        raise NotApplicable("its linears round their inputs, which only a library's kernels do")
    config, stored = read_config(checkpoint, dtype), read_json(checkpoint)
    stored = {key: value for key, value in stored.items() if key != "quantization_config"}
    with torch.no_grad(), whole_folder(target) as folder:
        changes = config_changes(config, stored, empty_model.decoder_blocks(source)[1])
        ordinary = model_of(config, stored, changes)
        check_model(ordinary, source)
        follow(reader, source)
        write(source, ordinary, reader, Writer(folder))
        copy_companions(checkpoint, folder, str(dtype).removeprefix("torch."), changes)


def check_model(ordinary: PreTrainedModel, source: PreTrainedModel) -> None:
    """Raises NotApplicable for parameters that an ordinary model cannot hold; reads no weights."""
    name, blocks = empty_model.decoder_blocks(source)
    for index, block in enumerate(empty_model.decoder_blocks(ordinary)[1]):
        check_block(block, blocks[index], index)
    shapes = {n: p.shape for n, p in source.named_parameters() if not n.startswith(f"{name}.")}
    for other, parameter in ordinary.named_parameters():
        if not other.startswith(f"{name}.") and shapes.pop(other, None) != parameter.shape:
            raise NotApplicable(f"{other} has another shape than in an ordinary model")
    if shapes:
        raise NotApplicable(f"an ordinary model has no {next(iter(shapes))}")
    check_norms(ordinary.base_model, source.base_model, "the model")


def write(
    source: PreTrainedModel, ordinary: PreTrainedModel, reader: Reader, writer: Writer
) -> None:
    """Writes the parameters outside of the blocks, then block by block, in the reader's dtype."""
    name, blocks = empty_model.decoder_blocks(source)
    targets = empty_model.decoder_blocks(ordinary)[1]
    # The names are taken before blocks are filled, because weights are no longer tied afterwards.
    names = empty_model.parameters_of(source, source, "")
    parts = [
        empty_model.parameters_of(source, block, f"{name}.{index}")
        for index, block in enumerate(blocks)
    ]
    others = reader.read([n for n in names if not n.startswith(f"{name}.")])
    writer.write(as_stored(ordinary, ordinary, "", others))
    for index, (target, block) in enumerate(zip(targets, blocks, strict=True)):
        empty_model.fill(source, reader.read(parts[index]))
        tensors = ordinary_tensors(target, block)
        path = f"{name}.{index}"
        named = {f"{path}.{n}": t.to(reader.dtype) for n, t in tensors.items()}
        writer.write(as_stored(ordinary, target, path, named))
        empty_model.empty(source, parts[index])
    writer.finish()
