"""An adapter that is kept beside a quantised base, in the folder `adapter` of its checkpoint.

The folder has peft's format: `adapter_config.json` and `adapter_model.safetensors`, with matrices A
[rank, columns] and B [rows, rank] for each linear. peft knows no masks, so the file's metadata names
the linears whose pruned weights stay zero.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from meltpoint.checkpoints.index import header
from meltpoint.checkpoints.linears import Linear
from meltpoint.files import write_json
from meltpoint.lazy_import import torch

if TYPE_CHECKING:
    from torch import Tensor

FOLDER, WEIGHTS, CONFIG = "adapter", "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
MASKED = "masked"


class Adapter:
    """The updates of a checkpoint's linears, by the linears' names."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open
        from safetensors.torch import load_file

        file = folder / FOLDER / WEIGHTS
        self.tensors: dict[str, Tensor] = load_file(file)
        with safe_open(file, "pt") as opened:
            self.masked = set(json.loads(opened.metadata().get(MASKED, "[]")))
        config = json.loads((folder / FOLDER / CONFIG).read_text())
        # Linears of a smaller rank have a smaller alpha, so the quotient is the same for all.
        self.scale = config["lora_alpha"] / config["r"]

    def changes(self, name: str) -> bool:
        """True for a parameter that is the weight of a linear with an adapter."""
        return name.endswith(".weight") and self._key(name, "A") in self.tensors

    def added_to(self, name: str, weight: "Tensor") -> "Tensor":
        """The weight [rows, columns] plus the adapter's update, in the weight's dtype."""
        first, second = (self.tensors[self._key(name, x)].to(weight.device).float() for x in "AB")
        update = self.scale * (second @ first)
        if name.removesuffix(".weight") in self.masked:
            update = torch.where(weight == 0, 0.0, update)
        return (weight.float() + update).to(weight.dtype)

    @staticmethod
    def _key(name: str, letter: str) -> str:
        return f"{PREFIX}{name.removesuffix('.weight')}.lora_{letter}.weight"


def adapter_of(folder: Path) -> Adapter | None:
    """The adapter in a checkpoint's folder; None if it has none."""
    return Adapter(folder) if (folder / FOLDER / WEIGHTS).exists() else None


def write_adapter(
    folder: Path,
    tensors: "Mapping[str, Tensor]",
    config: Mapping[str, object],
    masked: Iterable[str],
) -> None:
    """Writes an adapter below a checkpoint's folder: its tensors by peft's names, and peft's config.

    `masked` names the linears whose zeros the update must not change.
    """
    from safetensors.torch import save_file

    config = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}

    place = folder / FOLDER
    place.mkdir()
    metadata = {"format": "pt", MASKED: json.dumps(sorted(masked))}
    save_file(dict(tensors), place / WEIGHTS, metadata=metadata)
    (place / WEIGHTS).chmod(0o644)
    write_json(place / CONFIG, config)


def matrices_of(folder: Path) -> dict[str, Linear]:
    """Facts about an adapter's matrices, by their names: the linear's with .lora_A or .lora_B."""
    file = folder / FOLDER / WEIGHTS
    if not file.exists():
        return {}
    return {
        key.removeprefix(PREFIX).removesuffix(".weight"): Linear(shape=tensor["shape"], zeros=0)
        for key, tensor in sorted(header(file).items())
    }


def adapted(matrices: Iterable[str]) -> set[str]:
    """Names of the linears to which these matrices of an adapter belong."""
    return {name.rpartition(".lora_")[0] for name in matrices}
