"""Reads a checkpoint's config by transformers, and puts errors in it into one sentence."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedConfig

from meltpoint.errors import MeltpointError, reason_of


def read_config(folder: Path, dtype: torch.dtype) -> PreTrainedConfig:
    """The config of a checkpoint, with its dtype set to `dtype`.

    Raises MeltpointError if transformers cannot read it.
    """
    try:
        return AutoConfig.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise cannot_build(folder, error) from None


def cannot_build(folder: Path, error: Exception) -> MeltpointError:
    """The error for a config from which transformers cannot build a model; logs the traceback."""
    logging.error("%s", folder, exc_info=error)
    keys = [key for key, value in _entries(read_json(folder)) if error.args == (value,)]
    where = f" ({keys[0]} in its config.json)" if keys else ""
    return MeltpointError(
        f"{folder}: no causal language model can be built: {reason_of(error)}{where}"
    )


def read_json(folder: Path) -> dict:
    """Content of `config.json`; raises MeltpointError where it is no JSON object."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise MeltpointError(f"{folder / 'config.json'} is no valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise MeltpointError(f"{folder / 'config.json'} is no JSON object")
    return config


def stored_dtype(folder: Path) -> torch.dtype:
    """The dtype that a config names, float32 where it names none that torch knows."""
    config = read_json(folder)
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    dtype = getattr(torch, name.removeprefix("torch."), None)
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def with_plain_dtype(folder: Path) -> dict | None:
    """The config with its dtype in the form that all libraries read; None if it has that form.

    Some configs say "torch.float32". Only `from_pretrained` takes that, and only if given a dtype.
    """
    config = read_json(folder)
    named = config.get("dtype", config.get("torch_dtype"))
    if named is None or isinstance(getattr(torch, str(named), None), torch.dtype):
        return None
    others = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    return {**others, "dtype": str(stored_dtype(folder)).removeprefix("torch.")}


def _entries(config: object, key: str = "") -> Iterator[tuple[str, object]]:
    """The values of a config with their dotted keys."""
    if not isinstance(config, dict):
        yield key, config
        return
    for name, value in config.items():
        yield from _entries(value, f"{key}.{name}" if key else name)
