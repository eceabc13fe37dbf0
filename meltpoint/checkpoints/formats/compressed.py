"""compressed-tensors: integer weights as llm-compressor leaves them and vLLM runs them.

`pack-quantized` keeps the codes of a row one after the other, b bits each, in 32 bit words
(``weight_packed`` [rows, ceil(columns b / 32)], ``weight_shape``), lowest bits first and shifted by
2^(b-1) to be non-negative; the zero points of an asymmetric grid likewise, down the columns of
``weight_zero_point`` [ceil(rows b / 32), groups]. `int-quantized` has codes (``weight``) and zero
points as int8. Both have ``weight_scale`` [rows, groups], and a weight is ``(code - zero) scale``,
computed in the scales' dtype as the library does.

Activations may be int8 with one scale per token, found as the model runs: ``s = max |x| / 127.5``,
``x^ = s clamp(round(x / s), -128, 127)``, in the activations' dtype, as compressed-tensors computes
it in transformers. vLLM's kernel divides by 127 instead. transformers' OPT hands its two feed-forward
linears all tokens as the rows of one matrix, and compressed-tensors 0.19 then gives them one scale
together, windows mixed; here, as in vLLM, they have one each.
"""

from collections.abc import Callable, Container

from meltpoint.checkpoints.linears import Quantized
from meltpoint.errors import MeltpointError
from meltpoint.lazy_import import torch

FORMATS = ("pack-quantized", "int-quantized")
NAMES = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape")


def parts(linear: str, keys: Container[str]) -> dict[str, str]:
    """The stored tensors of a linear: short name and key; none if it is stored plainly."""
    if f"{linear}.weight_scale" not in keys:
        return {}
    names = {name: f"{linear}.{name}" for name in ("weight", *NAMES)}
    return {name: key for name, key in names.items() if key in keys}


def decode(parts: dict, config: dict) -> "torch.Tensor":
    """The weight, float32 [rows, columns].

    Raises MeltpointError for a format that is not integer weights in groups or rows.
    """
    weights = scheme(config)["weights"]
    codes, zeros = _codes(parts, weights["num_bits"])
    scales = parts["weight_scale"]
    groups = codes.unflatten(1, (scales.shape[1], -1)).to(scales.dtype)
    if zeros is not None:
        groups -= zeros.to(scales.dtype)[..., None]
    return groups.mul_(scales[..., None]).flatten(1).float()


def grid(parts: dict, config: dict) -> Quantized:
    """Bits, groups and scales of the weight; raises as `decode` does."""
    weights = scheme(config)["weights"]
    size = weights["group_size"] if weights["strategy"] == "group" else -1
    width = 8 * parts["weight_scale"].element_size()
    return Quantized(weights["num_bits"], size, weights["symmetric"], width)


def inputs(config: dict) -> Callable | None:
    """Rounding of a linear's inputs [..., columns] before they are multiplied; None for none.

    Raises MeltpointError for activations that are not int8 with a scale per token.
    """
    activations = scheme(config)["input_activations"]
    if activations is None:
        return None
    expected = {"type": "int", "num_bits": 8, "strategy": "token", "dynamic": True}
    if {**expected, "symmetric": True} != {
        key: activations[key] for key in (*expected, "symmetric")
    }:
        found = "dynamic" if activations["dynamic"] else "static"
        raise MeltpointError(
            f"compressed-tensors: {found} {activations['num_bits']} bit {activations['type']} "
            f"activations per {activations['strategy']} cannot be computed (only symmetric dynamic "
            "8 bit int ones per token can): use a W8A8 or weight-only checkpoint"
        )
    return round_tokens


def round_tokens(x: "torch.Tensor") -> "torch.Tensor":
    """Activations [..., columns], rounded to 256 levels between bounds of each token's own."""
    scale = x.abs().amax(-1, keepdim=True) / 127.5
    scale = torch.where(scale == 0, torch.finfo(x.dtype).eps, scale)
    return (x / scale).round_().clamp_(-128, 127).mul_(scale)


def scheme(config: dict) -> dict:
    """The scheme of all quantised linears; raises MeltpointError for one that cannot be read."""
    groups = list(config["config_groups"].values())
    if len(groups) != 1:
        raise MeltpointError(
            f"compressed-tensors: {len(groups)} config_groups in one checkpoint cannot be read: "
            "use one that is quantised alike throughout"
        )
    form = groups[0].get("format") or config["format"]
    if form not in FORMATS or (unread := _unread(groups[0], config)):
        what = f"the format {form!r}" if form not in FORMATS else f"{form} with {unread}"
        raise MeltpointError(
            f"compressed-tensors: {what} cannot be read: use a checkpoint of integer weights with "
            f"scales per row or group ({' or '.join(FORMATS)})"
        )
    return groups[0]


def _unread(group: dict, config: dict) -> str | None:
    """Phrase on the part of a scheme that `decode` and `inputs` cannot read; None if they can."""
    weights = group["weights"]
    beyond = {
        f"{weights['type']} weights": weights["type"] != "int",
        f"scales per {weights['strategy']}": weights["strategy"] not in ("group", "channel"),
        "columns in order of their activations": weights.get("actorder") == "group",
        "quantised outputs": group.get("output_activations"),
        "a quantised key-value cache": config.get("kv_cache_scheme"),
        "sparsity": config.get("sparsity_config"),
        "transforms": config.get("transform_config"),
    }
    return next((what for what, found in beyond.items() if found), None)


def _codes(parts: dict, bits: int):
    """The codes [rows, columns] and the zero points [rows, groups] or None, both signed."""
    zeros = parts.get("weight_zero_point")
    if "weight_packed" not in parts:
        return parts["weight"], zeros
    rows, columns = parts["weight_shape"].tolist()
    if zeros is not None:
        zeros = unpack(zeros.T, bits, rows).T
    return unpack(parts["weight_packed"], bits, columns), zeros


def unpack(words: "torch.Tensor", bits: int, count: int) -> "torch.Tensor":
    """Codes [rows, count], signed int8, of int32 words [rows, at least ceil(count bits / 32)]."""
    padded = torch.nn.functional.pad(words, (0, -words.shape[1] % bits))
    # `bits` words hold exactly 32 codes, so no code crosses the end of such a group.
    padded = padded.unflatten(1, (-1, bits))
    codes = torch.empty(*padded.shape[:2], 32, dtype=torch.int8, device=words.device)
    for i in range(32):
        word, shift = divmod(i * bits, 32)
        code = padded[..., word] >> shift
        if shift + bits > 32:
            code = code & ((1 << 32 - shift) - 1) | padded[..., word + 1] << 32 - shift
        codes[..., i] = (code & (1 << bits) - 1) - (1 << bits - 1)
    return codes.flatten(1)[:, :count]
