"""Weights and configs as compressed-tensors, the library of llm-compressor, stores them."""

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
INT = {"type": "int", "strategy": "channel", "group_size": None, "actorder": None}


def stored(form, weights, dtype):
    """A random weight [37, 100] as the library stores it, its config, and what it reads back."""
    weight = torch.randn(37, 100, generator=torch.Generator().manual_seed(0)).to(dtype)
    weight[3], weight[:, 40:60] = 0, 0
    args = QuantizationArgs(**weights)
    low, high = weight.unflatten(1, (-1, args.group_size or 100)).aminmax(dim=2)
    scale, zero = calculate_qparams(low, high, args)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    library = BaseCompressor.get_value_from_registry(form)
    given = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
    parts = library.compress(given, scheme)
    return parts, config(weights, form=form), library.decompress(parts, scheme)["weight"]


def config(weights=None, activations=None, form="pack-quantized", **changes):
    """A quantization_config as the library writes it."""
    group = {"weights": {"num_bits": 4, "symmetric": True, **INT, **(weights or {})}}
    group |= {"input_activations": activations, "output_activations": None, "format": form}
    return {"config_groups": {"group_0": group}, "format": form, **changes}
