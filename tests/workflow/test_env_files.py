"""The environments of envs/: pinned exactly, of one mind with each other, enough for their rules."""

import re
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

from meltpoint import methods
from meltpoint.errors import MeltpointError
from meltpoint.workflow.plan import Plan
from meltpoint.workflow.requirements import check, pinned
from tests.support.closure import closure, normal

ROOT = Path(__file__).parents[2]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
ON_GPUS = sorted((ROOT / "envs/gpu").glob("*.yaml"))
# What the rules of every environment import, by what it is for.
MODULES = {
    "analysis": ("tables.build", "transitions.fit", "figures", "report.build", "published.page"),
    "torch": ("compression.step", "model.base_models", "data.tokenization", "demo.train",
              "evaluations.measurement", "evaluations.perplexity", "evaluations.size",
              "evaluations.speed", "evaluations.engines._model_engine",
              "evaluations.engines._streamed"),
    "quantization": ("compression.step", "evaluations.measurement", "evaluations.speed",
                     "evaluations.engines._kernels_engine", "methods._bitsandbytes",
                     "methods._gptq_model", "methods._gptq_zeros", "methods._llmcompressor"),
    "gguf": ("data.packages", "llamacpp.decode"),
    "llama": ("compression.step", "evaluations.measurement", "evaluations.perplexity",
              "evaluations.size", "evaluations.speed", "evaluations.engines._llama_engine",
              "llamacpp.convert", "llamacpp.importance", "llamacpp.layers", "llamacpp.quantize",
              "llamacpp.runtime", "llamacpp.size"),
}  # fmt: skip
# Installs a method's libraries must give: whatever modules those packages hold.
IMPORT = """
import importlib, sys
from importlib.metadata import packages_distributions
modules, libraries = sys.argv[1].split(), sys.argv[2].split()
for name in modules:
    importlib.import_module("meltpoint." + name)
found = {
    distribution.lower().replace("_", "-"): module
    for module, distributions in packages_distributions().items()
    for distribution in distributions
    if module[0] != "_" and "." not in module
}
for name in libraries:
    importlib.import_module(found[name])
"""


def needed(name: str) -> list[str]:
    """The packages of an environment's methods."""
    own = (method for method in methods.registry().values() if method.env == name)
    return sorted({library for method in own for library in method.libraries})


def requirements(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return {re.split("==", x)[0]: x for x in lines if "==" in x}


@pytest.mark.parametrize("file", ENVS, ids=lambda file: file.stem)
def test_every_package_is_pinned_exactly(file):
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pinned(file).values())


@pytest.mark.parametrize("file", ENVS, ids=lambda file: file.stem)
def test_the_one_environment_holds_the_same_versions(file):
    everything = requirements("requirements.txt") | requirements("requirements-gguf.txt")
    assert pinned(file).items() <= everything.items()


@pytest.mark.parametrize("file", ON_GPUS, ids=lambda file: file.stem)
def test_an_environment_for_gpus_differs_in_the_build_of_torch_alone(file):
    pins, others = pinned(file), pinned(ROOT / "envs" / file.name)
    assert pins.pop("torch") == others.pop("torch") + "+cu130"
    assert pins == others
    assert "--extra-index-url https://download.pytorch.org/whl/cu130" in file.read_text()


@pytest.mark.parametrize(
    ("device", "env", "file"),
    [
        ("cuda", "torch", "gpu/torch.yaml"),
        ("cuda:1", "quantization", "gpu/quantization.yaml"),
        ("cuda", "llama", "llama.yaml"),
        ("cpu", "torch", "torch.yaml"),
        ("auto", "torch", "torch.yaml"),
    ],
)
def test_a_study_on_cuda_takes_the_environments_for_gpus(device, env, file):
    config = SimpleNamespace(compute=SimpleNamespace(device=device))
    plan = SimpleNamespace(config=config, job_specs=SimpleNamespace(envs=ROOT / "envs"))
    assert Plan.env_file(plan, env) == f"../envs/{file}"


@pytest.mark.parametrize("file", ENVS, ids=lambda file: file.stem)
def test_pip_has_no_choice(file):
    """All that pip takes is pinned: what packages need in turn is read from those installed here."""
    pins = {normal(name): line.split("==")[1] for name, line in pinned(file).items()}
    needed = closure(pins)
    assert needed.keys() - pins.keys() == set()
    # A package of another version might need others: what is installed is what is pinned.
    here = {name: version.split("+")[0] for name, version in needed.items() if version}
    assert {name: pins[name] for name in here} == here
    assert len(here) > 0.9 * len(pins)


@pytest.mark.parametrize("method", methods.registry().values(), ids=lambda method: method.name)
def test_what_a_method_needs_is_pinned_in_its_environment(method):
    assert set(method.libraries) <= set(pinned(ROOT / f"envs/{method.env}.yaml"))
    assert (ROOT / f"envs/{method.evaluation_env}.yaml").exists()


def test_a_missing_library_is_named_with_the_line_that_installs_it(tmp_path):
    env = tmp_path / "env.yaml"
    env.write_text("dependencies:\n  - pip\n  - pip:\n      - nowhere-to-be-found ==1.2\n")
    with pytest.raises(MeltpointError) as error:
        check([("gptq", ["nowhere-to-be-found"], env)])
    assert "gptq needs nowhere-to-be-found" in str(error.value)
    assert "pip install nowhere-to-be-found==1.2" in str(error.value)
    check([("rtn", [], env)])


def test_all_missing_libraries_are_named_at_once(tmp_path):
    env = tmp_path / "env.yaml"
    env.write_text("dependencies:\n  - pip\n  - pip:\n      - nowhere ==1.2\n      - neither ==3\n")
    with pytest.raises(MeltpointError) as error:
        check([("gptq", ["nowhere"], env), ("hqq", ["neither"], env), ("awq", ["nowhere"], env)])
    said = (
        "gptq needs nowhere, hqq needs neither, awq needs nowhere, which this environment does not"
    )
    assert str(error.value).startswith(said)
    assert "pip install nowhere==1.2 neither==3  (or" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("file", ENVS, ids=lambda file: file.stem)
def test_it_is_built_from_its_file_and_its_rules_import(file, tmp_path):
    """With pip's part alone: no conda is needed, and conda's own part is Python and pip."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned(file).values()], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    names = [" ".join(MODULES[file.stem]), " ".join(needed(file.stem))]
    subprocess.run([python, "-c", IMPORT, *names], check=True, cwd=ROOT)


def test_python_is_the_one_that_the_environments_ask_for():
    """The versions were chosen together on it; another may resolve to others."""
    asked = {re.search(r"python =(\S+)", file.read_text())[1] for file in ENVS}
    assert asked == {"3.11"}
    assert sys.version_info >= (3, 11)
