"""Shared code of the bitsandbytes methods: they quantise while transformers loads the folder."""

from pathlib import Path

from pydantic import Field

from meltpoint.compute import Compute
from meltpoint.methods.contract import Context
from meltpoint.methods.settings import MethodSettings


class FourBitSettings(MethodSettings):
    """Settings of a 4-bit format."""

    double_quant: bool = Field(
        False, description="Whether the blocks' scales are quantised to 8 bits too."
    )


def quantize(source: Path, target: Path, compute: Compute, **options: object) -> None:
    """Writes the quantised checkpoint to `target`; `options` are those of `BitsAndBytesConfig`.

    Only the linears of the decoder's blocks are quantised. The model must not run before it is saved:
    on CPUs with AVX512-BF16 its first pass repacks the 4-bit weights, and a later file would be wrong.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging

    from meltpoint.methods._saving import save_model

    logging.disable_progress_bar()
    skipped = _other_linears(source, compute.torch_dtype)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        dtype=compute.torch_dtype,
        device_map={"": compute.torch_device},
        quantization_config=BitsAndBytesConfig(llm_int8_skip_modules=skipped, **options),
        local_files_only=True,
        trust_remote_code=False,
    )
    save_model(model, target)


def _other_linears(source: Path, dtype) -> list[str]:
    """Names of the linears outside the decoder's blocks: head, and projections of the embeddings."""
    from meltpoint.model import empty_model

    model = empty_model.build(source, dtype)
    blocks, _ = empty_model.decoder_blocks(model)
    return [name for name in empty_model.linears(model) if not name.startswith(f"{blocks}.")]


def quantize_to_4_bits(
    source: Path, target: Path, kind: str, settings: FourBitSettings, context: Context
) -> None:
    """Writes the checkpoint in 4-bit codes of the table `kind`, "nf4" or "fp4"."""
    quantize(
        source,
        target,
        context.compute,
        load_in_4bit=True,
        bnb_4bit_quant_type=kind,
        bnb_4bit_use_double_quant=settings.double_quant,
        bnb_4bit_compute_dtype=context.compute.torch_dtype,
    )
