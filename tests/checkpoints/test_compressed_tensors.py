"""Weights that compressed-tensors has packed, read as the library reads them."""

import pytest
import torch

from meltpoint.checkpoints.formats import compressed
from meltpoint.checkpoints.linears import Quantized
from meltpoint.errors import MeltpointError

pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")

from tests.support.compressed_tensors import DTYPES, config, stored

GRIDS = [(b, s, g) for b in range(2, 9) for s in (True, False) for g in (-1, 20)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("bits", "symmetric", "group_size"), GRIDS)
def test_weights_are_what_the_library_reads_back(bits, symmetric, group_size, dtype):
    """Neither 37 rows nor 100 columns fill whole words; groups of 20 do not either."""
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "channel"}
    if group_size != -1:
        weights |= {"strategy": "group", "group_size": group_size}
    parts, given, expected = stored("pack-quantized", weights, dtype)
    weight = compressed.decode(parts, given)
    assert weight.dtype == torch.float32
    assert torch.equal(weight, expected.float())
    assert (weight[3] == 0).all()
    assert (weight[:, 40:60] == 0).all()
    scale_bits = torch.finfo(dtype).bits
    assert compressed.grid(parts, given) == Quantized(bits, group_size, symmetric, scale_bits)


def test_only_what_is_stored_quantised_has_parts():
    keys = ["a.weight_packed", "a.weight_scale", "a.weight_shape", "b.weight", "a.bias"]
    assert set(compressed.parts("a", keys)) == {"weight_packed", "weight_scale", "weight_shape"}
    assert compressed.parts("b", keys) == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (config(form="float-quantized"), "the format 'float-quantized' cannot be read"),
        (config({"type": "float"}, form="int-quantized"), "int-quantized with float weights"),
        (config({"strategy": "block"}), "scales per block"),
        (config({"actorder": "group"}), "columns in order of their activations"),
        (config(kv_cache_scheme={"num_bits": 8}), "a quantised key-value cache"),
        (config(transform_config={"config_groups": {}}), "transforms cannot be read"),
        (config(sparsity_config={"format": "sparse-24-bitmask"}), "sparsity cannot be read"),
        (config(config_groups={"a": {}, "b": {}}), "2 config_groups in one checkpoint"),
    ],
)
def test_what_cannot_be_read_is_named(given, reason):
    with pytest.raises(MeltpointError, match=reason) as error:
        compressed.decode({}, given)
    assert "\n" not in str(error.value)
