"""Base checkpoints: the language model of one of text and images, and what is refused."""

import json

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    SiglipVisionConfig,
)

from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError
from meltpoint.evaluations.size import size
from meltpoint.model.base_models import link
from meltpoint.model.load import load
from tests.support.specs import compress_spec
from tests.support.tiny_models import CONFIGS, random_tokens, save_model

CPU = torch.device("cpu")
COMPUTE = Compute(device="cpu")


@pytest.fixture(scope="module")
def with_images(tmp_path_factory):
    """A tiny Gemma 3 that sees images, as its repositories store it, and the same linked."""
    folder = tmp_path_factory.mktemp("images")
    torch.manual_seed(0)
    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    config = Gemma3Config(
        text_config=CONFIGS["gemma3"].to_dict(),
        vision_config=vision.to_dict(),
        mm_tokens_per_image=4,
    )
    model = Gemma3ForConditionalGeneration(config).eval()
    model.save_pretrained(folder / "source")
    link(folder / "source", folder / "base", "models.gemma")
    return model, folder / "base"


def test_the_language_model_computes_what_the_whole_one_does(with_images):
    whole, base = with_images
    ids = random_tokens(2, 20)
    with torch.no_grad():
        ours, theirs = load(base, torch.float32, CPU)(ids).logits, whole(ids).logits
    assert torch.equal(ours, theirs)


def test_what_sees_images_is_not_counted(with_images):
    whole, base = with_images
    language = sum(p.numel() for p in whole.model.language_model.parameters())
    counts = size(base)
    # The head is tied to the embeddings.
    assert counts["parameters"] == language
    assert counts["bytes"] < sum(f.stat().st_size for f in base.glob("*.safetensors"))
    unused = json.loads((base / "meltpoint.json").read_text())["unused"]
    assert unused
    assert not any("language_model" in key for key in unused)


@pytest.mark.parametrize("step", ["magnitude@0.5", "nf4"])
def test_it_is_compressed_like_any_other(step, with_images, tmp_path):
    if step == "nf4":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    _, base = with_images
    compress(base, tmp_path / "t", compress_spec(step, {}), [], COMPUTE)
    model = load(tmp_path / "t", torch.float32, CPU)
    assert type(model).__name__ == "Gemma3ForCausalLM"
    ids = random_tokens(1, 12)
    if step == "magnitude@0.5":
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "t").eval()
        with torch.no_grad():
            assert torch.equal(model(ids).logits, theirs(ids).logits)


def test_a_quantised_base_is_refused(tmp_path):
    base = save_model(tmp_path / "model", "llama")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(MeltpointError, match=r"models\.m: .* quantised already, by gptq: name the"):
        link(base, tmp_path / "base", "models.m")
