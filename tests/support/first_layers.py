"""A copy of a model that lacks its last layers."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def first_layers(model: Path, layers: int, target: Path) -> Path:
    """A copy of a Llama with its first layers alone; the final norm and the head are kept."""
    shutil.copytree(model, target, dirs_exist_ok=True)
    for file in target.iterdir():
        file.chmod(0o644)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
    tensors = {
        name: tensor
        for name, tensor in load_file(model / "model.safetensors").items()
        if not name.startswith("model.layers.") or int(name.split(".")[2]) < layers
    }
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target
