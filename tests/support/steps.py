"""One step on a tiny model as its script does it, and what the checkpoint then holds."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from meltpoint import methods
from meltpoint.chain import Bits, Pattern, Sparsity, parse_level, parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.formats import format_of
from meltpoint.checkpoints.io import Reader
from meltpoint.compression.search import search
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.model import empty_model
from meltpoint.model.as_linears import views
from meltpoint.model.stored_layout import follow
from meltpoint.workflow import requirements
from tests.support.specs import compress_spec, search_spec

LEVELS = {
    Sparsity: ["0.3", "0.5", "0.7"],
    Pattern: ["2of4", "4of8", "3of4"],
    Bits: ["8bit", "4bit", "3bit", "2bit"],
}
# What was found before: results of searches, and models without weights.
SEARCHES: dict[tuple, Path] = {}
SKELETONS: dict[tuple[str, str], PreTrainedModel] = {}
# Fractions of what a structured or low-rank method counts.
SHAPE_KINDS, SHAPE_LEVELS = ("structured", "low-rank"), ["0.1", "0.3", "0.5", "0.8"]


def spellings(method: methods.Method) -> list[str]:
    """The levels that a method is run at; "" where it takes none."""
    if not method.levels:
        return [""]
    if method.kind in SHAPE_KINDS:
        return SHAPE_LEVELS
    wide = [*method.schemes, *(level for form in method.levels for level in LEVELS.get(form, ()))]
    return [x for x in wide if not x.endswith("bit") or parse_level(x).bits in method.bits]


def spell(method: str, level: str) -> str:
    """A step without settings."""
    return f"{method}@{level}" if level else method


def run(
    parent: Path,
    target: Path,
    spelling: str,
    windows: Path | None,
    search_anew: bool = False,
    **compute,
) -> Path:
    """Compresses by a step as its script does, after its search if the method has one.

    One search serves all levels, as in the workflow, unless it is to be done anew. Skips the test if a
    package is not installed.
    """
    method = methods.find(parse_step(spelling).method)
    spelled = dict(parse_step(spelling).overrides)
    facts = method.facts.full_range_settings | method.facts.quick_settings
    more = "".join(f",{key}={value}" for key, value in facts.items() if key not in spelled)
    step = parse_step(spelling + more)
    if missing := [name for name in method.libraries if not requirements.installed(name)]:
        pytest.skip(f"{step.method} needs {', '.join(missing)}")
    settings = method.settings(step)
    values = settings.model_dump(mode="json")
    compute = Compute(**{"device": "cpu", **compute})
    found, given = None, {"windows": {"file": "x"}}
    searches = [("earlier", method.earlier_search(step)), ("search", method.search_step(step))]
    for name, each in searches if method.has_search else []:
        if each is None:
            continue
        earlier, found = (
            found,
            target.with_name(f"{target.name}-{name}.{method.facts.search_format}"),
        )
        looked_at = method.settings(each).model_dump(mode="json")
        spec = search_spec(str(each), looked_at | given if settings.calibrated else looked_at)
        key = (parent, _times_of(parent), spec.json(), windows, compute.dtype, compute.batch)
        if key in SEARCHES and not search_anew:
            shutil.copy(SEARCHES[key], found)
        else:
            search(parent, found, spec, [windows], compute, earlier=earlier)
            SEARCHES[key] = found
    values |= given if method.calibrated(step) else {}
    texts = {use: [windows] for use in settings.training_data}
    compress(parent, target, compress_spec(str(step), values), [windows], compute, found, texts)
    return target


def _times_of(folder: Path) -> tuple[tuple[str, int], ...]:
    """Times of a folder's files: another search is due where one has changed."""
    return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in folder.iterdir()))


def skeleton(folder: Path) -> PreTrainedModel:
    """A checkpoint's model without weights, not to be changed: those of one shape share it."""
    description = Description.of(folder)
    shapes = description.shapes.model_dump_json() if description and description.shapes else ""
    key = ((folder / "config.json").read_text(), shapes)
    if key not in SKELETONS:
        SKELETONS[key] = empty_model.build(folder, torch.float32)
    return SKELETONS[key]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All of a checkpoint's weights by their parameters' names.

    They are decoded where they are packed, and converted where they are stored by other names.
    """
    model, found = skeleton(folder), {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    converted = views(model) or found.keys() - model.state_dict().keys()
    return decoded(folder) if format_of(folder) or converted else found


def decoded(folder: Path) -> dict[str, torch.Tensor]:
    """All of a checkpoint's weights, as the library reads them."""
    model = empty_model.build(folder, torch.float32)
    reader = Reader(folder, torch.float32, torch.device("cpu"))
    follow(reader, model)
    return reader.read(empty_model.parameters_of(model, model, ""))


def linear_names(folder: Path) -> list[str]:
    """Names of the weights of the decoder's linears."""
    model = skeleton(folder)
    name, blocks = empty_model.decoder_blocks(model)
    return [f"{name}.{i}.{n}.weight" for i, b in enumerate(blocks) for n in empty_model.linears(b)]


def zeros_of(folder: Path) -> float:
    """Fraction of zeros among the entries of the matrices of the decoder's blocks."""
    found = weights(folder)
    path, _ = empty_model.decoder_blocks(skeleton(folder))
    inside = [x for name, x in found.items() if name.startswith(f"{path}.") and x.dim() > 1]
    return sum(int((x == 0).sum()) for x in inside) / sum(x.numel() for x in inside)
