"""Base models out of GGUF files: weights, config and tokenizer, and what is refused."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("gguf", reason="gguf is not installed")

import gguf

from meltpoint.checkpoints.description import Description
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.data.tokenization import tokenizer_of
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.measurement import facts_of
from meltpoint.llamacpp.decode import decode
from meltpoint.model.base_models import link
from meltpoint.model.load import load
from meltpoint.workflow.job_specs.documents import EvaluateSpec
from tests.support import tiny_gguf
from tests.support.specs import compress_spec
from tests.support.tiny_study import sentences

COMPUTE, CPU = Compute(device="cpu"), torch.device("cpu")
TEXTS = [*sentences(5), "It's 2026, 12 o'clock:  two spaces\n\n and 3.50!"]
Q8_0 = gguf.GGMLQuantizationType.Q8_0


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids).logits


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A file in Q4_1, what it was written of, and the base checkpoint made of it."""
    folder = tmp_path_factory.mktemp("gguf")
    model, tokenizer = tiny_gguf.write(folder / "tiny.gguf")
    decode(folder / "tiny.gguf", folder / "base", torch.float32, "models.m")
    return folder / "base", model, tokenizer


@pytest.mark.parametrize("kind", [tiny_gguf.Q4_1, Q8_0, tiny_gguf.F16], ids=lambda kind: kind.name)
def test_weights_are_those_of_the_file(kind, tmp_path):
    model, _ = tiny_gguf.write(tmp_path / "tiny.gguf", kind)
    decode(tmp_path / "tiny.gguf", tmp_path / "base", torch.float32, "models.m")
    ours = load(tmp_path / "base", torch.float32, CPU)
    expected = tiny_gguf.rounded(model.eval(), kind)
    for name, parameter in expected.named_parameters():
        assert torch.equal(ours.get_parameter(name), parameter), name
    ids = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(logits(ours, ids), logits(expected, ids))


def test_the_checkpoint_is_in_the_dtype_of_the_study(tmp_path):
    tiny_gguf.write(tmp_path / "tiny.gguf")
    decode(tmp_path / "tiny.gguf", tmp_path / "base", torch.bfloat16, "models.m")
    assert json.loads((tmp_path / "base/config.json").read_text())["dtype"] == "bfloat16"
    assert Description.read(tmp_path / "base").achieved.bits == 16


def test_config_and_tokenizer_are_those_of_the_metadata(base):
    folder, model, tokenizer = base
    config = load(folder, torch.float32, CPU).config
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "max_position_embeddings", "vocab_size", "rms_norm_eps",
                "tie_word_embeddings"):  # fmt: skip
        assert getattr(config, key) == pytest.approx(getattr(model.config, key)), key
    ours = tokenizer_of(folder)
    assert [ours(text).input_ids for text in TEXTS] == [tokenizer(t).input_ids for t in TEXTS]
    assert (ours.bos_token_id, ours.eos_token_id) == (tokenizer.bos_token_id, 127)
    assert (config.bos_token_id, config.eos_token_id) == (ours.bos_token_id, 127)


@pytest.mark.parametrize("tied", [True, False])
def test_a_file_without_a_head_is_tied(tied, tmp_path):
    tiny_gguf.write(tmp_path / "tiny.gguf", tie_word_embeddings=tied)
    decode(tmp_path / "tiny.gguf", tmp_path / "base", torch.float32, "models.m")
    assert load(tmp_path / "base", torch.float32, CPU).config.tie_word_embeddings is tied


@pytest.mark.parametrize("begins", [True, False])
def test_the_begin_token_is_put_before_texts_where_the_file_says_so(begins, tmp_path):
    metadata = {"tokenizer.ggml.add_bos_token": begins}
    _, tokenizer = tiny_gguf.write(tmp_path / "tiny.gguf", metadata=metadata)
    decode(tmp_path / "tiny.gguf", tmp_path / "base", torch.float32, "models.m")
    first = tokenizer_of(tmp_path / "base")(TEXTS[0]).input_ids[0]
    assert (first == tokenizer.bos_token_id) is begins


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "qwen2", "llama-bpe", "tekken"])
def test_text_is_split_into_words_as_llama_cpp_splits_it(pre, tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from meltpoint.llamacpp.session import tokenize
    from meltpoint.llamacpp.tokenizer import SENTENCES

    file = tmp_path / "tiny.gguf"
    tiny_gguf.write(file, pre=pre, texts=[*SENTENCES * 20, *TEXTS])
    decode(file, tmp_path / "base", torch.float32, "models.m")
    ours = tokenizer_of(tmp_path / "base")
    texts = [*TEXTS, *SENTENCES]
    expected = tokenize(file, texts)
    assert [ours(text, add_special_tokens=False).input_ids for text in texts] == expected


# --- where the weights come from ------------------------------------------------------------------


def test_the_description_says_on_which_grids_the_weights_were(base):
    found = Description.read(base[0]).base_quantization
    assert found.model_dump() == {
        "grids": {"Q4_1": {"linears": 14, "bits": 4, "group_size": 32, "symmetric": False}},
        "others": {"F32": 7},
    }


def test_plain_numbers_are_no_grid(tmp_path):
    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.F16)
    decode(tmp_path / "tiny.gguf", tmp_path / "base", torch.float32, "models.m")
    assert Description.read(tmp_path / "base").base_quantization is None


def test_every_cell_says_so_and_quantization_warns(base, tmp_path):
    """Through a chain, and where the base checkpoint is linked as a local folder."""
    link(base[0], tmp_path / "linked", "models.m")
    spec = compress_spec("magnitude@0.5", {})
    compress(tmp_path / "linked", tmp_path / "half", spec, [], COMPUTE)
    spec = compress_spec("rtn@4bit,group_size=32", {}, "magnitude@0.5+rtn@4bit,group_size=32")
    compress(tmp_path / "half", tmp_path / "both", spec, [], COMPUTE)
    cell = EvaluateSpec(
        cell={"model": "m", "chain": "dense", "evaluation": "e"},
        kind="size", main="bits_per_weight", settings={}, compute={}, code="code",
    )  # fmt: skip
    for name, warned in (("linked", False), ("half", False), ("both", True)):
        facts = facts_of(cell, Description.read(tmp_path / name))
        assert facts["protocol"]["base_quantization"]["grids"]["Q4_1"]["bits"] == 4
        said = "; ".join(facts["provenance"]["warnings"])
        assert ("come from Q4_1 (4 bits, groups of 32)" in said) is warned


def test_a_grid_like_the_files_loses_nothing(base, tmp_path):
    """What the warning is about: llama.cpp's Q4_1 has the minimum and the scale of its groups."""
    step = "rtn@8bit,group_size=32"
    compress(base[0], tmp_path / "rtn", compress_spec(step, {}), [], COMPUTE)
    ids = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(0))
    dense, rounded = (load(place, torch.float32, CPU) for place in (base[0], tmp_path / "rtn"))
    assert (logits(dense, ids) - logits(rounded, ids)).abs().max() < 0.01


# --- what is refused ------------------------------------------------------------------------------


REFUSED = {
    "architecture": ({"general.architecture": "mamba"}, "its architecture is mamba; GGUF files of"),
    "no depth": ({"llama.block_count": None}, "its metadata has no llama.block_count"),
    "experts": ({"llama.expert_count": 8}, "its blocks have 8 experts"),
    "scaling": ({"llama.rope.scaling.type": "yarn"}, "its rope scaling of type yarn"),
    "heads": ({"llama.attention.head_count_kv": [2, 1]}, "attention.head_count_kv differs from"),
    "no tokenizer": ({"tokenizer.ggml.model": "no_vocab"}, "it holds no tokenizer"),
    "no tokens": ({"tokenizer.ggml.tokens": None}, "it holds no tokenizer"),
    "kind": ({"tokenizer.ggml.model": "bert"}, "its tokenizer is of the kind bert"),
    "split": ({"tokenizer.ggml.pre": "dbrx"}, "its tokenizer splits text as dbrx"),
    "merges": ({"tokenizer.ggml.merges": ["nowhere else"]}, "its tokenizer cannot be decoded"),
    "more blocks": ({"llama.block_count": 3}, "it holds no blk.2"),
    "fewer blocks": ({"llama.block_count": 1}, "it holds blk.1.attn_k.weight, which a LlamaFor"),
    "another width": ({"llama.feed_forward_length": 96}, "has shape [64, 32], [96, 32] by its"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_decoded_is_one_sentence(case, tmp_path):
    metadata, said = REFUSED[case]
    tiny_gguf.write(tmp_path / "tiny.gguf", metadata=metadata)
    message = refusal(tmp_path / "tiny.gguf", tmp_path / "base")
    assert message.startswith("models.m: tiny.gguf: ")
    assert said in message


def refusal(file, target):
    with pytest.raises(MeltpointError) as caught:
        decode(file, target, torch.float32, "models.m")
    assert not target.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_of_integers_cannot_be_decoded(tmp_path):
    tiny_gguf.write(
        tmp_path / "tiny.gguf", replaced={"blk.0.attn_q.weight": np.zeros((32, 32), np.int8)}
    )
    said = "its blk.0.attn_q.weight is stored as I8, which the gguf package cannot decode"
    assert said in refusal(tmp_path / "tiny.gguf", tmp_path / "base")


@pytest.mark.parametrize("broken", ["cut", "type"])
def test_a_broken_file_is_one_sentence(broken, tmp_path):
    file = tmp_path / "tiny.gguf"
    tiny_gguf.write(file)
    content = bytearray(file.read_bytes())
    if broken == "cut":
        del content[len(content) // 2 :]
    else:
        # A type's number stands behind the name, the number of dimensions and the dimensions.
        place = content.index(b"blk.0.attn_q.weight") + len("blk.0.attn_q.weight") + 4 + 2 * 8
        content[place] = 99
    file.write_bytes(content)
    assert "truncated or no GGUF file" in refusal(file, tmp_path / "base")
