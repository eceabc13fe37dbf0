"""The offline demo: its text, its tokenizer, its settings, its training."""

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from meltpoint.demo import text
from meltpoint.demo.training_settings import TrainingSettings
from meltpoint.errors import MeltpointError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from meltpoint.demo import muon, tokenizer, train  # noqa: E402

# The demo of methods that remove blocks, as docs/log.md measures it.
DEEP = TrainingSettings(layers=8, hidden=128, intermediate=384, dropout=0.05)
TINY = TrainingSettings(vocabulary=300, intermediate=256, layers=1, length=32, batch=4, steps=4)
STRANGE = "naïve — 日本語 🧊\t\r\n\x00  end <b>"


@pytest.fixture(scope="module")
def words():
    return tokenizer.train(text.documents("train")[:50], 400, 64)


@pytest.fixture(scope="module")
def small_text():
    """A tenth of the corpus: enough to train on, and seconds less to tokenise."""
    parts = {split: text.documents(split) for split in ("train", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.text, "documents", lambda split: parts[split][::10])
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_text):
    folder = tmp_path_factory.mktemp("demo")
    return folder, train.train(folder, TINY)


def _paragraphs(split):
    parts = (part for document in text.documents(split) for part in document.split("\n\n"))
    keys = (" ".join(part.split()) for part in parts)
    return {key for key in keys if len(key) >= text.COPY_LENGTH}


def test_no_paragraph_of_test_is_in_train():
    assert not _paragraphs("test") & _paragraphs("train")


def test_test_split_is_large_enough_and_small_enough():
    train_bytes, test_bytes = (
        sum(len(document.encode()) for document in text.documents(split))
        for split in ("train", "test")
    )
    assert test_bytes > 150_000
    assert 0.06 < test_bytes / (train_bytes + test_bytes) < 0.1


def test_documents_are_the_same_every_time():
    before, version = text.documents("test"), text.version()
    for cached in (text.documents, text.version, text._corpus):
        cached.cache_clear()
    assert text.documents("test") == before
    assert text.version() == version


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train and test"):
        text.documents("validation")


def test_tokenizer_round_trips_any_text(words):
    assert words.decode(words(STRANGE)["input_ids"]) == STRANGE


def test_byte_lengths_add_up_to_the_text(words):
    lengths = tokenizer.byte_lengths(words)
    assert sum(lengths[token] for token in words(STRANGE)["input_ids"]) == len(STRANGE.encode())
    assert lengths[words.eos_token_id] == 0


def test_tokenizer_is_deterministic(words):
    again = tokenizer.train(text.documents("train")[:50], 400, 64)
    assert again.backend_tokenizer.to_str() == words.backend_tokenizer.to_str()


def test_too_large_a_vocabulary_is_refused():
    with pytest.raises(MeltpointError, match="not 5000"):
        tokenizer.train(["a short text"], 5000, 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 320}, "hidden 320 is not a multiple of 128"),
        ({"intermediate": 300}, "intermediate 300 is not a multiple of 128"),
        ({"heads": 8, "kv_heads": 3}, "8 heads are not a multiple of 3 kv_heads"),
        ({"heads": 3, "kv_heads": 3}, "does not split into 3 heads"),
        ({"width": 256}, "Extra inputs"),
    ],
)
def test_training_settings_refuse(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**settings)


def test_every_hyperparameter_is_described():
    assert all(field.description for field in TrainingSettings.model_fields.values())


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (8, 24), (24, 8)])
def test_orthogonalize_evens_singular_values_and_keeps_directions(rows, columns):
    noise = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(noise, full_matrices=False)
    spectrum = torch.logspace(0, -1.5, min(rows, columns))
    after = u.mT @ muon.orthogonalize(u * spectrum @ vh) @ vh.mT
    values = after.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(after, torch.diag_embed(values), atol=1e-4, rtol=0)
    assert values.max() < 2
    assert values.max() / values.min() < 32 / 2


def test_muon_moves_matrices_only():
    with pytest.raises(ValueError, match="matrices"):
        muon.Muon([torch.zeros(3)], 0.1, 0.9, 0.0)


def test_trained_folder_loads(trained):
    folder, reached = trained
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert train.held_out(model, words, 256)["perplexity"] == pytest.approx(reached["perplexity"])
    assert reached["parameters"] == model.num_parameters()
    assert reached["parameters"] == TINY.parameters()


def test_linears_fit_k_quants(trained):
    model = transformers.AutoModelForCausalLM.from_pretrained(trained[0])
    linears = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    assert all(linear.in_features % 256 == 0 for linear in linears)


def test_same_settings_same_bytes(trained, tmp_path):
    train.train(tmp_path, TINY)
    assert _hashes(tmp_path) == _hashes(trained[0])


def test_training_learns(trained, tmp_path):
    longer = train.train(tmp_path, TINY.model_copy(update={"steps": 12}))
    assert longer["bits_per_byte"] < trained[1]["bits_per_byte"] < 8


def test_training_leaves_threads_and_seed_alone(tmp_path):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train.train(tmp_path, TINY.model_copy(update={"threads": 1, "steps": 1}))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_counted_before_training(tied):
    settings = TINY.model_copy(update={"tied": tied, "layers": 3})
    words = tokenizer.train(text.documents("train")[:50], 300, 64)
    model = transformers.LlamaForCausalLM(train._config(settings, words))
    assert settings.parameters() == model.num_parameters()


def test_a_deep_demo_is_as_large_as_the_demo():
    assert DEEP.parameters() == pytest.approx(TrainingSettings().parameters(), rel=0.1)


def test_a_deep_demo_has_its_blocks_and_can_be_trained(small_text, tmp_path):
    changes = {"vocabulary": 300, "length": 32, "batch": 4, "steps": 2}
    reached = train.train(tmp_path, DEEP.model_copy(update=changes))
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (config.num_hidden_layers, config.hidden_size) == (8, 128)
    assert reached["parameters"] == DEEP.model_copy(update=changes).parameters()


def test_windows_grow_to_the_context():
    settings = TrainingSettings(length=32, batch=16, context=128, steps=10, grown=0.3)
    batches = train._batches(torch.arange(10_000), settings)
    shapes = [tuple(batch.shape) for _, batch in zip(range(10), batches, strict=False)]
    assert shapes == [(16, 33)] * 7 + [(4, 129)] * 3
