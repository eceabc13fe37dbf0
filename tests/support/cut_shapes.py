"""A structured method for tests: cuts heads, neurons, a block and the residual width.

It chooses by position or at random, not by merit. The residual stream is rotated as SliceGPT does it:
norms are folded into the linears behind them, each site of the stream gets a basis of its own, and
shortcut matrices lead from one basis to the next. With `narrow=0` the model computes what it did.
"""

from pydantic import Field

from meltpoint.chain import Sparsity
from meltpoint.lazy_import import LazyModule, torch
from meltpoint.methods.settings import CalibratedSettings

block_parts = LazyModule("meltpoint.model.block_parts")
surgery = LazyModule("meltpoint.model.surgery")

kind = "structured"
levels = (Sparsity,)
env = "torch"


class Settings(CalibratedSettings):
    """What is cut."""

    heads: bool = Field(True, description="Cut key and value heads with their query heads.")
    neurons: bool = Field(True, description="Cut neurons of the MLP.")
    biases: bool = Field(False, description="Give the outputs of attention and MLP a bias.")
    depth: bool = Field(True, description="Drop the second block.")
    rotate: bool = Field(True, description="Rotate the residual stream.")
    narrow: float = Field(0.25, description="Fraction of the residual width that is cut.")
    expand: bool = Field(False, description="Give each query head key and value heads of its own.")
    even: bool = Field(False, description="Cut all blocks alike.")
    empty: bool = Field(False, description="Remove the first block's attention, the last's MLP.")


def compress_block(block, statistics, level, settings) -> None:
    """Cuts the block in place."""
    if settings.depth and block.index == 1:
        block.drop()
        return
    if settings.empty and block.index == 0:
        surgery.remove_attention(block.module)
    if settings.empty and block.index == block.count - 1:
        surgery.remove_mlp(block.module)
    facts = block_parts.BlockParts(block.module)
    if settings.expand:
        surgery.expand_kv(block.module)
    offset = 0 if settings.even else block.index
    if settings.heads and facts.has_attention and (settings.even or block.index == 0):
        keep = max(1, int(facts.kv_heads * (1 - level.fraction)))
        surgery.keep_heads(block.module, torch.arange(keep))
    if settings.neurons and facts.has_mlp:
        keep = int(facts.intermediate * (1 - level.fraction)) - offset
        norms = block_parts.weight_of(facts.mlp_output).norm(dim=0)
        surgery.keep_neurons(block.module, norms.topk(keep).indices.sort().values)
    if settings.biases:
        for linear in (facts.attention_output, facts.mlp_output):
            surgery.set_bias(linear, torch.full((block_parts.rows_of(linear),), 0.01))
    if settings.rotate:
        _rotate(block, facts, settings.narrow, offset)


def _rotate(block, facts, narrow, offset) -> None:
    memory = block.memory
    width = memory.setdefault("width", block.hidden.shape[-1])
    keep = int(width * (1 - narrow)) - (offset if narrow else 0)
    if "basis" not in memory:
        memory["centre"] = _centring(facts.attention_norms[0], width)
        memory["first"] = memory["basis"] = memory["centre"] @ _basis(width, keep, 0)
        block.replace_hidden(block.hidden @ memory["first"])
    before = memory["basis"]
    between, after = (_basis(width, keep, 2 * block.index + site) for site in (1, 2))
    if facts.has_attention:
        readers = (facts.queries, facts.keys, facts.values)
        _read(block.module, facts.layout.attention_norms[0], readers, before)
        _write(facts.attention_output, memory["centre"] @ between)
    if facts.has_mlp:
        name = facts.layout.mlp_norms[0]
        _write(facts.mlp_output, memory["centre"] @ after)
        _read(block.module, name, facts.mlp_inputs, between)
    surgery.set_shortcuts(block.module, before.T @ between, between.T @ after)
    memory["basis"] = after


def _basis(width, keep, seed):
    """Orthonormal columns [width, keep]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=generator))[0][:, :keep].contiguous()


def _centring(norm, width):
    """What a LayerNorm does besides: it subtracts the mean. An RMSNorm does not."""
    identity = torch.eye(width)
    return identity - 1 / width if isinstance(norm, torch.nn.LayerNorm) else identity


def _read(owner, name, linears, basis) -> None:
    """Lets linears read a rotated stream, with the norm in front of them folded in."""
    norm = owner.get_submodule(name)
    for linear in linears:
        # The input side of two factors is the first's.
        first = linear[0] if isinstance(linear, torch.nn.Sequential) else linear
        if getattr(norm, "bias", None) is not None:
            shift = block_parts.weight_of(linear) @ norm.bias
            last = linear[-1] if isinstance(linear, torch.nn.Sequential) else linear
            surgery.set_bias(linear, shift if last.bias is None else last.bias + shift)
        surgery.set_parameter(first, "weight", (first.weight * norm.weight) @ basis)
    if isinstance(norm, torch.nn.LayerNorm):
        unit = torch.nn.RMSNorm(basis.shape[1], norm.eps, elementwise_affine=False)
        owner.set_submodule(name, unit)
    else:
        surgery.set_parameter(norm, "weight", torch.ones(basis.shape[1]))


def _write(linear, basis) -> None:
    """Lets a linear write to a rotated stream."""
    last = linear[-1] if isinstance(linear, torch.nn.Sequential) else linear
    surgery.set_parameter(last, "weight", basis.T @ last.weight)
    if last.bias is not None:
        surgery.set_parameter(last, "bias", basis.T @ last.bias)


def finish(parts, memory) -> None:
    """Rotates embeddings and head with what the blocks were rotated by."""
    if "first" not in memory:
        return
    into, out = parts.projections
    tables = [parts.positions] + ([] if into else [parts.embeddings])
    reader = out or parts.head
    if reader is parts.head and parts.tied:
        surgery.set_parameter(parts.head, "weight", parts.head.weight.clone())
    for table in filter(None, tables):
        surgery.set_parameter(table, "weight", table.weight @ memory["first"])
    if into is not None:
        surgery.set_parameter(into, "weight", memory["first"].T @ into.weight)
    name = next(n for n, m in parts.body.named_children() if m is parts.norm)
    _read(parts.body, name, [reader], memory["basis"])
