"""Conversion of a checkpoint's tensors to a model's parameters, by transformers' own tables.

Some checkpoints hold parameters by other names than the model, or in parts: Pythia's head, each
matrix of each expert of Mixtral. transformers converts them while it loads, and back while it
saves. The same tables are used here, for one block at a time.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
    revert_weight_conversion,
)

from meltpoint.checkpoints.io import Reader
from meltpoint.model import empty_model
from meltpoint.model.as_linears import View, views


class StoredLayout:
    """Where a checkpoint with these keys holds the parameters of a model."""

    def __init__(self, model: PreTrainedModel, keys: Iterable[str]) -> None:
        keys = set(keys)
        self.views: dict[str, View] = views(model)
        self._model = model
        self._sources: dict[str, list[tuple[str, str | None]]] = {}
        table = get_model_conversion_mapping(model)
        self._renamings = [x for x in table if isinstance(x, WeightRenaming)]
        converters = [x for x in table if isinstance(x, WeightConverter)]
        self._converters = {pattern: x for x in converters for pattern in x.source_patterns}
        names = list(model.state_dict())
        parameters = dict.fromkeys([*names, *map(self.library_name, names)], True)
        for key in sorted(keys, key=dot_natural_key):
            self._place(key, converters, parameters)
        # A part that is stored under its own name, as some experts' matrices are, needs no view.
        parts = {name for name, view in self.views.items() if name != view.source}
        self._sources |= {name: [(name, None)] for name in parts & keys}
        for name in parts & set(self._sources):
            del self.views[name]

    def _place(self, key: str, converters: list[WeightConverter], parameters: dict) -> None:
        prefix = self._model.base_model_prefix
        name, pattern = rename_source_key(key, self._renamings, converters, prefix, parameters)
        if name not in parameters and key in parameters:
            name, pattern = rename_source_key(key, [], [], prefix, parameters)
        if name in parameters:
            self._sources.setdefault(name, []).append((key, pattern))

    def library_name(self, name: str) -> str:
        """Name of the parameter in transformers' model that holds the parameter `name` of ours."""
        return self.views[name].source if name in self.views else name

    def keys(self, name: str) -> list[str]:
        """Keys of the stored tensors that make up a parameter; [] if the tables name none."""
        sources = self._sources.get(self._first_target(self.library_name(name)), [])
        if sources and sources[0][1] is None:
            return [sources[0][0]]
        return [key for key, _ in sources]

    def converts(self, name: str) -> bool:
        """True unless a parameter is the unchanged tensor of a single key."""
        sources = self._sources.get(self._first_target(self.library_name(name)), [])
        return name in self.views or any(pattern is not None for _, pattern in sources)

    def _first_target(self, name: str) -> str:
        """Name of the first of the parameters that come from the same stored tensor as `name`."""
        if name in self._sources:
            return name
        for converter in self._converters.values():
            first, *others = converter.target_patterns
            for other in others:
                if other in name and (target := name.replace(other, first)) in self._sources:
                    return target
        return name

    def part(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The parameter `name`, a view of `whole`, the library's parameter that holds it."""
        return self.views[name].of(whole) if name in self.views else whole

    def whole(self, name: str, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The library's parameter that holds `name`, computed from the tensors of all its keys."""
        target = self._first_target(name)
        sources = self._sources[target]
        pattern = sources[0][1]
        if pattern is None:
            return stored[sources[0][0]]
        converter = deepcopy(self._converters[pattern])
        for key, source in sources:
            converter.add_tensor(target, key, source, stored[key])
        made = converter.convert(target, model=self._model, config=self._model.config)
        tensor = made[name]
        return tensor[0] if isinstance(tensor, list) else tensor


def as_stored(
    model: PreTrainedModel, module: nn.Module, path: str, tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The tensors and names under which transformers would save the tensors of a module.

    `tensors` are by their names in our model, `path` is the module's name in it.
    """
    return revert_weight_conversion(model, _fused(views(module, path), tensors))


def _fused(parts: dict[str, View], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors with the parts of each library parameter joined, if all of its parts are there."""
    groups: dict[str, dict[str, View]] = {}
    for name, view in parts.items():
        groups.setdefault(view.source, {})[name] = view
    fused = dict(tensors)
    for source, group in groups.items():
        if all(name in tensors for name in group):
            whole = next(tensors[name] for name in group).new_empty(
                next(iter(group.values())).shape
            )
            for name, view in group.items():
                view.of(whole).copy_(fused.pop(name))
            fused[source] = whole
    return fused


def follow(reader: Reader, model: PreTrainedModel) -> dict[str, list[str]]:
    """Tells a reader how a model's parameters are stored; returns the model's `tied_names`."""
    tied = empty_model.tied_names(model)
    reader.follow(StoredLayout(model, reader.files), tied)
    return tied


def stored_keys(
    model: PreTrainedModel, files: Iterable[str], linears: Iterable[str]
) -> dict[str, list[str]]:
    """Keys of the tensors that make up a linear's weight, by the linear's name.

    Linears that are stored under their own names are left out. `files` are the checkpoint's keys.
    """
    layout = StoredLayout(model, files)
    keys = {name: layout.keys(f"{name}.weight") for name in linears}
    return {name: found for name, found in keys.items() if found and found != [f"{name}.weight"]}
