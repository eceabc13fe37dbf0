"""Checks whether a config alone can express a checkpoint's shapes, and finds the keys for it."""

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from meltpoint.checkpoints.shapes import Shapes
from meltpoint.model import empty_model, shaped

# Keys of configs that hold the width of the MLP.
INTERMEDIATE = ("intermediate_size", "ffn_dim")
# These architectures multiply the embeddings by a function of the width in their config.
SCALED_BY_WIDTH = ("gemma",)


def config_of(
    config: PreTrainedConfig, stored: dict, shapes: Shapes, kept: list[int], untied: bool
) -> tuple[dict, str | None]:
    """Keys of the config for a checkpoint of these shapes, and the first shape no config can express.

    `config` is the earlier checkpoint's and `stored` its JSON. `kept` are the indices of the blocks
    that are left. `untied` is true if the head became a weight of its own. If the second result is
    None, a model built from the config was found to have exactly these shapes. Otherwise the keys cover
    depth and tying only.
    """
    needed = _depth(config, kept)
    if untied:
        needed["tie_word_embeddings"] = False
    wanted = needed | _widths(config, shapes)
    try:
        expected = _shapes_by(config, {**stored, **wanted})
    except (ValueError, TypeError, ZeroDivisionError, RuntimeError, StrictDataclassError):
        return needed, difference(shapes, _shapes_by(config, {**stored, **needed}))
    reason = difference(shapes, expected)
    return (needed if reason else wanted), reason


def _depth(config: PreTrainedConfig, kept: list[int]) -> dict:
    """Keys with the number of blocks, and lists with one entry for each block that is left."""
    depth = config.num_hidden_layers
    if len(kept) == depth:
        return {}
    lists = {
        key: [value[index] for index in kept]
        for key, value in config.to_dict().items()
        if isinstance(value, list) and len(value) == depth and key != "architectures"
    }
    return {_key(config, "num_hidden_layers"): len(kept), **lists}


def _widths(config: PreTrainedConfig, shapes: Shapes) -> dict:
    """Keys with the head counts and widths of the first block that differ from the config's."""
    first = shapes.blocks[0]
    wanted = {"num_attention_heads": first.heads, "num_key_value_heads": first.kv_heads}
    wanted |= dict.fromkeys(INTERMEDIATE, first.intermediate)
    if not config.model_type.startswith(SCALED_BY_WIDTH):
        wanted["hidden_size"] = first.width
    embedding = next(
        (s for n, s in shapes.others.items() if n.endswith("embed_tokens.weight")), None
    )
    if embedding:
        wanted["word_embed_proj_dim"] = embedding[1]
    eps = {norm.eps for name, norm in shapes.norms.items()} if shapes.norms else set()
    if len(eps) == 1:
        wanted["rms_norm_eps"] = eps.pop()
    changed = {
        _key(config, key): value
        for key, value in wanted.items()
        if value is not None and hasattr(config, key) and getattr(config, key) != value
    }
    # Llama and its relatives derive the head width from width and head count unless it is stated.
    if changed and first.head_width and hasattr(config, "num_key_value_heads"):
        changed["head_dim"] = first.head_width
    return changed


def _key(config: PreTrainedConfig, name: str) -> str:
    return config.attribute_map.get(name, name)


def _shapes_by(config: PreTrainedConfig, content: dict) -> Shapes:
    model = empty_model.from_config(type(config).from_dict(content), torch.float32)
    return shaped.shapes_of(model, *empty_model.decoder_blocks(model))


def difference(shapes: Shapes, expected: Shapes) -> str | None:
    """Phrase on the first shape that differs from those that a config gives; None if all agree."""
    if shapes.others != expected.others or shapes.norms != expected.norms:
        return "embeddings, final norm and head are of this width"
    for index, (block, other) in enumerate(zip(shapes.blocks, expected.blocks, strict=True)):
        if block.shortcuts:
            return f"block {index} sends the residual stream through matrices"
        for name in ("heads", "kv_heads", "head_width", "intermediate", "width"):
            value, usual = getattr(block, name), getattr(other, name)
            if value != usual:
                words = name.replace("_", " ")
                return f"block {index} has {words} {value}, which in a config would be {usual}"
        if block.linears != other.linears:
            return _linears(index, block.linears, other.linears)
        if block.norms != other.norms:
            return f"the norms of block {index} are other ones"
    return None


def _linears(index: int, linears: dict, expected: dict) -> str:
    name = next(n for n in (*expected, *linears) if linears.get(n) != expected.get(n))
    if f"{name}.0" in linears:
        return f"{name} of block {index} is a product of two factors"
    if name not in linears:
        return f"block {index} has no {name}"
    return f"{name} of block {index} is {linears[name]}"
