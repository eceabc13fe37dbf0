"""Which of Meltpoint's modules a job imports: its script is run, or its imports alone.

As a program: reads cases as JSON from standard input, and writes for each the modules that it has
imported. Each case runs in a child of one process, which has imported the large libraries but nothing
of Meltpoint: so a case takes a fraction of a second.
"""

import ast
import importlib
import json
import os
import pkgutil
import runpy
import sys
import tempfile
import traceback
from pathlib import Path
from types import SimpleNamespace

# Importing a class of transformers takes seconds more than its package.
LARGE = (
    *("torch", "pandas", "pydantic", "matplotlib.figure", "scipy.optimize", "snakemake"),
    *("transformers.modeling_utils", "transformers.generation.utils"),
    *("transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
)


class Named(dict):
    """Files by name, and by their place, as a script sees its input and output."""

    __getattr__ = dict.__getitem__

    def __iter__(self):
        return iter(self.values())

    def __missing__(self, place: int) -> str:
        return list(self.values())[place]


def run(case: dict) -> None:
    """Runs a case's script as Snakemake would, or only imports what it imports."""
    if "job_spec" not in case:
        return [importlib.import_module(name) for name in imported(Path(case["script"]))]
    snakemake = SimpleNamespace(
        input=Named(case["input"]),
        output=Named(case["output"]),
        params=SimpleNamespace(job_spec=case["job_spec"]),
        wildcards=SimpleNamespace(**case["wildcards"]),
        config=case["config"],
        log=["job.log"],
        resources=SimpleNamespace(gpu=0),
    )
    for file in case["output"].values():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    return runpy.run_path(case["script"], init_globals={"snakemake": snakemake})


def imported(script: Path) -> list[str]:
    """The modules that the import statements of a script name."""
    nodes = list(ast.walk(ast.parse(script.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    sources = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [node.module for node in sources]
    return names


def keep_only(plugins: list[str]) -> None:
    """Lets the registries find only these of their files: `methods/wanda`."""
    every = pkgutil.iter_modules

    def chosen(path=None, prefix=""):
        rooms = {Path(place).name for place in path or ()}
        for info in every(path, prefix):
            name = f"{Path(info.module_finder.path).name}/{info.name}"
            if not rooms & {"methods", "evaluations", "engines", "figures"} or name in plugins:
                yield info

    pkgutil.iter_modules = chosen


def child(case: dict, result: Path) -> None:
    """Runs a case and writes the names of Meltpoint's modules that are imported then."""
    try:
        keep_only(case.get("plugins", []))
        run(case)
        for name in case.get("modules", []):
            importlib.import_module(name)
        names = sorted(name for name in sys.modules if name.startswith("meltpoint."))
        result.write_text(json.dumps(names))
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    os._exit(status)


def main() -> None:
    """Runs the cases one after the other."""
    for name in LARGE:
        importlib.import_module(name)
    cases, found = json.load(sys.stdin), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            result = Path(folder, "result")
            pid = os.fork()
            if pid == 0:
                child(case, result)
            _, status = os.waitpid(pid, 0)
            if status:
                sys.exit(f"{name} failed")
            found[name] = json.loads(result.read_text())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
