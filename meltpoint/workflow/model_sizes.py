"""Sizes of a study's models, known before any of them is fetched."""

import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import yaml

from meltpoint.checkpoints.formats import check_unquantised
from meltpoint.checkpoints.index import NO_CONFIG, count_parameters
from meltpoint.errors import MeltpointError, at
from meltpoint.files import write_json
from meltpoint.study.model_sections import HubModel, LocalModel, SizedModel, TrainedModel
from meltpoint.study.resolved import Study

KNOWN = Path(__file__).parents[2] / "resources/models.yaml"
# What the hub has said, so that it is asked once.
ANSWERS = Path(".snakemake/meltpoint_models.json")
# What configs call the width of the hidden states; a family has one of them.
WIDTHS = ("word_embed_proj_dim", "hidden_size", "n_embd", "d_model")
BLOCKS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
NEURONS = ("intermediate_size", "ffn_dim", "n_inner")
HEADS = ("num_attention_heads", "n_head")
# Keys of a config whose values are objects, where they are there.
OBJECTS = ("text_config", "rope_scaling", "rope_parameters", "quantization_config")


@dataclass(frozen=True)
class ModelSize:
    """A model's number of parameters, and its config, which is empty where it is not known."""

    parameters: int
    config: dict = field(default_factory=dict, compare=False)

    @property
    def width(self) -> int | None:
        """Width of what the head sees; None where the config is not known."""
        return self._first(WIDTHS)

    @property
    def blocks(self) -> int | None:
        """Number of decoder blocks; None where the config is not known."""
        return self._first(BLOCKS)

    @property
    def neurons(self) -> int | None:
        """Width of a block's MLP; four times the model's where the config has no number for it."""
        return self._first(NEURONS) or (self.width and 4 * self.width)

    @property
    def heads(self) -> int | None:
        """Number of a block's attention heads; None where the config is not known."""
        return self._first(HEADS)

    @property
    def embeddings(self) -> int:
        """Parameters of the embedding and of a head of its own; 0 where the config is not known."""
        tables = 1 if self.config.get("tie_word_embeddings", False) else 2
        return tables * self.vocabulary * (self.width or 0)

    @property
    def vocabulary(self) -> int:
        """Number of tokens; 0 where the config is not known."""
        return self._first(("vocab_size",)) or 0

    @property
    def decoder(self) -> int:
        """Parameters of the blocks; of the whole model where the config is not known."""
        return self.parameters - self.embeddings

    def _first(self, names: tuple[str, ...]) -> int | None:
        """First number of these names; the mean where the config has one for each block."""
        return next(filter(None, (_mean(self.config.get(name)) for name in names)), None)


def _mean(value: object) -> int | None:
    """A number, or the mean of a list of them; None of anything else."""
    numbers = value if isinstance(value, list) and value else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    return round(sum(numbers) / len(numbers))


class ModelSizes:
    """Sizes of a study's models by name, looked up once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.of = cache(self._of)

    def _of(self, model: str) -> ModelSize | None:
        """Size of a model; None where nobody knows it.

        It is that of the files where they are here, else the study's hint, what ships with Meltpoint
        (`resources/models.yaml`), or what the hub says.
        """
        declared = self.study.config.models[model]
        if isinstance(declared, TrainedModel):
            return trained_size(declared)
        if isinstance(declared, LocalModel):
            return size_of_folder(self.study.path(declared.path))
        try:
            return size_of_folder(Path(f"results/models/{model}"))
        except MeltpointError:
            return self._before_it_is_here(declared)

    def _before_it_is_here(self, declared: SizedModel) -> ModelSize | None:
        hub = declared.hub if isinstance(declared, HubModel) else None
        known = known_models().get(hub)
        if declared.parameters is not None:
            return ModelSize(int(declared.parameters), known.config if known else {})
        return known or (size_on_hub(hub, declared.revision) if hub else None)

    def bytes(self, model: str) -> float | None:
        """Bytes of a model's weights in the study's dtype; None where its size is not known."""
        size = self.of(model)
        return None if size is None else size.parameters * self.width

    @cached_property
    def width(self) -> int:
        """Bytes of a weight in the study's dtype."""
        return 4 if self.study.config.compute.dtype == "float32" else 2

    @cached_property
    def unknown(self) -> list[str]:
        """Names of the models whose size nobody knows."""
        return [model for model in self.study.config.models if self.of(model) is None]

    def hint(self) -> str | None:
        """The sentence that asks for what is not known; None where all is."""
        if not self.unknown:
            return None
        return (
            f"the size of {', '.join(self.unknown)} is not known before it is fetched: write it into "
            f"the study, as in `models: {{{self.unknown[0]}: {{..., parameters: 7.2e9}}}}`"
        )


def trained_size(declared: TrainedModel) -> ModelSize:
    """Size of a model that the workflow trains."""
    train = declared.train
    config = {
        **{"hidden_size": train.hidden, "intermediate_size": train.intermediate},
        **{"num_hidden_layers": train.layers, "vocab_size": train.vocabulary},
        "tie_word_embeddings": train.tied,
    }
    return ModelSize(train.parameters(), config)


def size_of_folder(folder: Path) -> ModelSize:
    """Size of a checkpoint, by its files' headers. Raises MeltpointError where there is none."""
    return ModelSize(count_parameters(folder), config_of(folder))


def check_local_models(study: Study) -> None:
    """Reads the configs of local models, and the headers of their weights.

    Raises MeltpointError, naming the key, for files that cannot be read or that are quantized.
    """
    for name, model in study.config.models.items():
        if isinstance(model, LocalModel):
            path = study.path(model.path)
            at(f"models.{name}.path", check_config, path)
            at(f"models.{name}.path", count_parameters, path)
            at(f"models.{name}.path", check_unquantised, path)


def check_config(folder: Path) -> None:
    """Raises MeltpointError for a checkpoint whose config is missing, or is no config of a model."""
    path = folder / "config.json"
    if not path.is_file():
        raise MeltpointError(f"{folder} {NO_CONFIG}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeltpointError(f"{path} is no valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise MeltpointError(f"{path} is no JSON object")
    if not isinstance(config.get("model_type"), str | None):
        raise MeltpointError(f"{path}: model_type is no text")
    for key in OBJECTS:
        for part in (config, config.get("text_config") or {}):
            if not isinstance(part.get(key), dict | None):
                raise MeltpointError(f"{path}: {key} is no JSON object")


def config_of(folder: Path) -> dict:
    """Config of the language model in a checkpoint; empty where it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return {**config, **(config.get("text_config") or {})}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@cache
def known_models() -> dict[str, ModelSize]:
    """Models of the hub whose sizes ship with Meltpoint, by repository."""
    rows = yaml.safe_load(KNOWN.read_text())
    return {name: ModelSize(int(row.pop("parameters")), row) for name, row in rows.items()}


@cache
def size_on_hub(repository: str, revision: str) -> ModelSize | None:
    """Size of a model of the hub, by its metadata; None where they cannot be had.

    Read are the files in the hub's cache, what the hub has said before, or the config and the
    headers of the weights on the hub.
    """
    key = f"{repository}@{revision}"
    try:
        answers = json.loads(ANSWERS.read_text())
    except (OSError, ValueError):
        answers = {}
    if key in answers:
        return ModelSize(**answers[key])
    size = _size_in_cache(repository, revision)
    if size is None and (size := _ask(repository, revision)) is not None:
        answer = {"parameters": size.parameters, "config": size.config}
        write_json(ANSWERS, {**answers, key: answer})
    return size


def _size_in_cache(repository: str, revision: str) -> ModelSize | None:
    try:
        from huggingface_hub import snapshot_download

        return size_of_folder(
            Path(snapshot_download(repository, revision=revision, local_files_only=True))
        )
    except (ModuleNotFoundError, OSError, ValueError, MeltpointError):
        return None


def _ask(repository: str, revision: str) -> ModelSize | None:
    """What the hub says of a model, in requests of kilobytes."""
    try:
        from huggingface_hub import get_safetensors_metadata, hf_hub_download

        headers = get_safetensors_metadata(repository, revision=revision)
        config = config_of(
            Path(hf_hub_download(repository, "config.json", revision=revision)).parent
        )
    # Without a network, a token or the package: each client of each version has errors of its own.
    except Exception:
        return None
    return ModelSize(sum(headers.parameter_count.values()), config)
