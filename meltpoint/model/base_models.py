"""Base checkpoints: linked from a hub's cache or a local folder, and described."""

import logging
import re
from pathlib import Path

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from meltpoint.checkpoints import axes
from meltpoint.checkpoints.description import FILE, Description, hash_weights, versions
from meltpoint.checkpoints.formats import check_unquantised
from meltpoint.checkpoints.index import INDEX, NO_CONFIG, SINGLE_FILE, WANTED, index
from meltpoint.checkpoints.io import CHAT_TEMPLATES, Reader
from meltpoint.checkpoints.linears import Linear
from meltpoint.compute import Compute
from meltpoint.errors import MeltpointError, at, reason_of
from meltpoint.files import whole_folder, write_json
from meltpoint.model import empty_model, shaped
from meltpoint.model.configs import read_config, read_json, stored_dtype, with_plain_dtype
from meltpoint.model.decoded import Parts
from meltpoint.model.stored_layout import follow, stored_keys
from meltpoint.model.tied_weights import untied_config
from meltpoint.model.verification import verify

# Fraction of the blocks' matrices above which a warning names those that no method compresses.
LEAST_SAID = 0.01


def link(source: Path, target: Path, key: str) -> None:
    """Makes `target` a folder of links to a local checkpoint's files; `key` names it in messages.

    Raises MeltpointError unless `source` is a complete checkpoint of safetensors.
    """
    if not (source / "config.json").is_file():
        raise MeltpointError(f"{key}: {source} {NO_CONFIG}")
    at(key, check_unquantised, source)
    at(key, check_regular, source)
    config, files = at(key, changed_config, source), at(key, wanted, source)
    with whole_folder(target) as folder:
        for file in files:
            (folder / file.name).symlink_to(file.resolve())
        place = _replace_config(folder, config) if config else source
        if untied := at(key, untied_config, place):
            place = _replace_config(folder, untied)
        # An error names the user's own file, not the link, if both configs are the same.
        before = Description.of(source)
        facts = {"base_quantization": before.base_quantization} if before else {}
        write_description(folder, at(key, verify, place), unused=unused(folder), **facts)


def check_regular(source: Path) -> None:
    """Raises MeltpointError for a checkpoint by Meltpoint whose config cannot express its shapes."""
    description = Description.of(source)
    if description and description.shapes and description.shapes.irregular:
        raise MeltpointError(
            f"{source}: no config can say that {description.shapes.irregular}: name the model that it "
            "was made from, and take the same steps"
        )


def _replace_config(folder: Path, config: dict) -> Path:
    """Writes a config in the place of the link to the source's."""
    (folder / "config.json").unlink()
    write_json(folder / "config.json", config)
    return folder


def changed_config(source: Path) -> dict | None:
    """The linked model's config: that of the language model alone, with a plain dtype.

    None if the source's own config will do.
    """
    return language_config(source) or with_plain_dtype(source)


def wanted(source: Path) -> list[Path]:
    """Paths of a checkpoint's files to link; of several sets of weights the one transformers reads."""
    weights = set(index(source).values())
    return [
        file
        for file in sorted(source.iterdir())
        if file.name == CHAT_TEMPLATES
        or (file.name in weights if file.suffix == ".safetensors" else _is_companion(file))
    ]


def _is_companion(file: Path) -> bool:
    stale = file.name == INDEX and (file.parent / SINGLE_FILE).exists()
    return any(file.match(pattern) for pattern in WANTED) and file.name != FILE and not stale


def language_config(folder: Path) -> dict | None:
    """Config of the language model within a model of text and images; None for text alone."""
    if "text_config" not in read_json(folder):
        return None
    dtype = stored_dtype(folder)
    config = read_config(folder, dtype)
    text = config.get_text_config()
    architecture = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(text.model_type)
    if architecture is None:
        raise MeltpointError(f"{folder}: {text.model_type} is no causal language model")
    name = str(dtype).removeprefix("torch.")
    # Either config may be the one that ties the embeddings; a stored head is checked later.
    tied = config.tie_word_embeddings or text.tie_word_embeddings
    changes = {"architectures": [architecture], "dtype": name, "tie_word_embeddings": tied}
    return {**text.to_dict(), **changes}


def unused(folder: Path) -> list[str]:
    """Keys of stored tensors that the language model does not use, duplicates among them."""
    model = empty_model.build(folder, torch.float32)
    reader = Reader(folder, torch.float32, torch.device("cpu"))
    follow(reader, model)
    names = empty_model.parameters_of(model, model, "")
    used = {key for name in names for key in reader.stored_keys(name) or [reader.key(name)]}
    found = sorted(set(reader.files) - used)
    if found:
        logging.info("Not used by the model, and not counted: %s", ", ".join(found))
    return found


def fetch(repository: str, revision: str, target: Path, key: str) -> None:
    """Links a hub's model at a pinned revision, and downloads it first if the cache lacks it.

    Raises MeltpointError for a gated or missing repository or revision, and for one without
    safetensors.
    """
    link(snapshot(repository, revision, key), target, f"{key} ({repository}@{revision})")


def snapshot(repository: str, revision: str, key: str) -> Path:
    """The folder in the hub's cache that holds a repository's revision."""
    from huggingface_hub import errors, snapshot_download

    name = f"{key}: {repository} at {revision}"
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(WANTED)))
    except errors.GatedRepoError:
        raise MeltpointError(
            f"{name} is gated: accept its licence on its page, then log in with `hf auth login` or "
            "set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise MeltpointError(f"{name}: the repository has no such revision") from None
    except errors.RepositoryNotFoundError:
        raise MeltpointError(
            f"{name}: there is no such repository, or it is private and no token is set"
        ) from None
    # Without a network: the hub's errors, the system's, and those of the client of its version.
    except Exception as error:
        raise MeltpointError(
            f"{name} is not in the cache and cannot be fetched ({reason_of(error)}): go online once, "
            "or use `path:`"
        ) from None


def warnings_of(linears: dict[str, Linear], others: dict[str, Linear]) -> list[str]:
    """The sentence, in a list, about matrices that no method compresses; [] if they are small."""
    left, inside = (sum(x.count for x in found.values()) for found in (others, linears))
    if left <= LEAST_SAID * (left + inside):
        return []
    names = list(dict.fromkeys(re.sub(r"^.*?\.\d+\.", "", name) for name in others))
    return [
        f"no method compresses {', '.join(names)} of the blocks, {left / (left + inside):.1%} of the "
        "entries of their matrices; what is achieved counts them"
    ]


def write_description(folder: Path, matrices: dict[str, Linear], **facts: object) -> None:
    """Writes the description of a base checkpoint; `matrices` is what `verify` returned for it."""
    dtype = stored_dtype(folder)
    parts = Parts(folder, Compute(device="cpu"))
    shapes = shaped.shapes_of(parts.model, *empty_model.decoder_blocks(parts.model))
    linears = {name: matrices[name] for name in parts.linears}
    others = {name: matrix for name, matrix in matrices.items() if name not in linears}
    dense = shapes.parameters
    Description(
        hash=hash_weights(folder),
        versions=versions(),
        **axes.reached(matrices, dense, dense, dtype.itemsize),
        dense_parameters=dense,
        shapes=shapes,
        linears=linears,
        other_matrices=others,
        warnings=warnings_of(linears, others),
        stored_as=stored_keys(parts.model, parts.reader.files, linears),
        **facts,
    ).write(folder)
