"""The code that a result is hashed with is all the code that its job imports."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from meltpoint import evaluations, methods
from meltpoint.chain import Bits, Pattern, Scheme, Sparsity, Step
from meltpoint.checkpoints import formats
from meltpoint.hashing import HashCache
from meltpoint.study import config as schema
from meltpoint.study.resolved import Study
from meltpoint.workflow import staleness
from meltpoint.workflow.job_specs import base_models, pages, shown_code
from meltpoint.workflow.job_specs import study as job_specs
from meltpoint.workflow.job_specs.documents import JobSpec
from meltpoint.workflow.plan import Plan
from tests.support import hanging, tiny_gguf, tiny_study, tiny_tasks
from tests.support.project import ROOT

# The code around every job, which starts it and hands it its job spec.
FRAME = "frame"
AROUND = {"script": str(ROOT / "meltpoint/workflow/job.py"), "closure": ""}
LEVELS = {Sparsity: "0.5", Pattern: "2:4"}


def first_step(method: methods.Method) -> str:
    """A step of the method at a level that it takes."""
    if not method.levels:
        return method.name
    named = {Bits: lambda: f"{method.bits[0]}bit", Scheme: lambda: method.schemes[0]}
    form = method.levels[0]
    return f"{method.name}@{LEVELS[form] if form in LEVELS else named[form]()}"


def closures_instead_of_hashes(monkeypatch) -> None:
    """Has every job spec hold the names of the modules that its code is hashed from."""
    for module in (job_specs, base_models, pages, shown_code):
        monkeypatch.setattr(
            module, "code_hash", lambda *modules, **kw: " ".join(staleness.closure(*modules, **kw))
        )


@pytest.fixture
def study(untouched, tmp_path, monkeypatch) -> dict:
    """The tiny study with a chain for each method; the working directory is its folder."""
    project = untouched.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    config = tiny_study.study()
    tiny_gguf.write(project.folder / "studies/decoded.gguf")
    config["models"]["decoded"] = {"gguf": "decoded.gguf"}
    chains = [first_step(method) for method in methods.registry().values()]
    config["chains"]["all"] = {"models": ["tiny"], "chains": chains, "evaluations": ["prose-32"]}
    config["evaluations"]["fast"] = {"speed": "generation", "prompt": 4, "generated": 2}
    tiny_tasks.write(project.folder / "studies/tasks")
    config["evaluations"] |= tiny_tasks.EVALUATIONS
    written = list(tiny_tasks.EVALUATIONS)
    config["chains"]["order"]["evaluations"] += ["bits", "fast", *written]
    del config["tables"]["calibrations"]
    return config


def plan_of(study: dict) -> Plan:
    return Plan(copy.deepcopy(study), [Path("studies/tiny.yaml")], ROOT)


class Cases:
    """The jobs of a study that lead to some of its results, each as its script would see it."""

    def __init__(self, study: dict) -> None:
        config = copy.deepcopy(study)
        self.plan = Plan(config, [Path("studies/tiny.yaml")], ROOT)
        self.config = {key: config[key] for key in ("compute", "sources")}
        self.cases: dict[str, dict] = {FRAME: AROUND}

    def add(self, name, script, spec, inputs, outputs, plugins=(), **wildcards) -> None:
        self.cases[name] = {
            "script": str(ROOT / f"scripts/{script}.py"),
            "job_spec": spec.json(),
            "closure": spec.code,
            "input": inputs,
            "output": outputs,
            "wildcards": wildcards,
            "config": self.config,
            "plugins": list(plugins),
        }

    def model(self, name: str = "tiny") -> None:
        spec = self.plan.job_specs.model(name)
        folder = {"folder": f"results/models/{name}"}
        self.add(f"link {name}", "link_model", spec, {}, folder, model=name)

    def decoded_model(self) -> None:
        spec, folder = self.plan.job_specs.model("decoded"), "results/models/decoded"
        self.add("decode", "decode_model", spec, {}, {"folder": folder}, model="decoded")

    def tokens(self) -> None:
        for corpus, script, ends in (
            ("prose", "tokens", {"tokens": ".npy", "ends": ".ends.npy"}),
            ("fixed", "tokens", {"tokens": ".npy", "ends": ".ends.npy"}),
            ("notes", "tokens_of_documents",
             {"tokens": ".documents.npy", "offsets": ".documents.offsets.npy",
              "characters": ".documents.characters.npy"}),
        ):  # fmt: skip
            stem = f"results/tiny/tokens/tiny/{corpus}"
            files = {key: f"{stem}{end}" for key, end in ends.items()}
            inputs = {"model": "results/models/tiny"}
            spec = self.plan.job_specs.tokens("tiny", corpus)
            self.add(f"tokens {corpus}", script, spec, inputs, files, model="tiny", corpus=corpus)

    def search(self, step: Step) -> None:
        """A search on the base model, before the compression that reads it."""
        method = methods.find(step.method)
        name = str(method.search_step(step))
        wildcards = {"model": "tiny", "chain": "dense", "search": name}
        named = SimpleNamespace(**wildcards)
        inputs = {"parent": self.plan.parent(named), "tokens": self.plan.calibration_files(named)}
        inputs["validation"] = self.plan.validation_files(named)
        inputs["earlier"] = self.plan.searches.earlier(named)
        found = {0: self.plan.searches.file(method).format(**wildcards)}
        spec = self.plan.job_specs.search("tiny", "dense", method.search_step(step))
        plugins = [f"methods/{step.method}"]
        self.add(f"search {name}", "search", spec, inputs, found, plugins, **wildcards)

    def compress(self, chain: str) -> str:
        if methods.find(self.plan.study.steps(chain)[-1].method).has_search:
            self.search(self.plan.study.steps(chain)[-1])
        prefix, plus, step = chain.rpartition("+")
        wildcards = {"model": "tiny", "prefix": prefix + plus, "step": step}
        named = SimpleNamespace(**wildcards)
        inputs = {"parent": self.plan.parent(named), "tokens": self.plan.calibration_files(named)}
        inputs["search"] = self.plan.searches.read_by(named)
        inputs["texts"] = self.plan.compressions.texts(named)
        target = f"results/tiny/cells/tiny/{chain}/checkpoint"
        spec = self.plan.job_specs.compress("tiny", chain)
        plugins = [f"methods/{step.method}" for step in self.plan.study.steps(chain)]
        self.add(
            f"compress {chain}",
            "compress",
            spec,
            inputs,
            {"checkpoint": target},
            plugins,
            **wildcards,
        )
        return target

    def evaluate(self, chain: str, evaluation: str) -> None:
        wildcards = {"model": "tiny", "chain": chain, "evaluation": evaluation}
        spec = self.plan.job_specs.evaluation(*wildcards.values())
        cell = f"results/tiny/cells/tiny/{chain}/{evaluation}"
        kind = evaluations.find(spec.kind)
        inputs = self.plan.evaluation_inputs(SimpleNamespace(**wildcards))
        outputs = {"cell": f"{cell}.json"} | {end: f"{cell}.{end}" for end in kind.keeps}
        plugins = [f"methods/{step.method}" for step in self.plan.study.steps(chain)]
        plugins += [f"evaluations/{kind.name}", *engines_in(spec.code)]
        name = f"{kind.name} {chain} {evaluation}"
        self.add(name, "evaluate", spec, inputs, outputs, plugins, **wildcards)

    def shown(self) -> None:
        specs, files = self.plan.job_specs, self.plan.cells_of("tables", "pruning")
        fits = "results/tiny/transitions/pruning.csv"
        stem = "results/tiny/figures/pruning"
        outputs = {"svg": f"{stem}.svg", "png": f"{stem}.png"}
        ends = {"csv": "csv", "markdown": "md", "latex": "tex"}
        tables = {name: f"results/tiny/tables/pruning.{end}" for name, end in ends.items()}
        shown = ("evaluations/perplexity", "figures/curves")
        kinds = map(evaluations.kind_of, self.plan.config.evaluations.values())
        measured = sorted({f"evaluations/{kind.name}" for kind in kinds})
        cells, transitions = {"cells": files}, specs.transitions("pruning")
        self.add("transitions", "transitions", transitions, cells, {0: fits}, shown)
        self.add("table", "table", specs.table("pruning"), cells, tables, shown)
        inputs = {**cells, "transitions": [fits]}
        self.add("figure", "figure", specs.figure("pruning"), inputs, outputs, shown)
        page, spec = {0: "results/tiny/report.html"}, specs.report(["pruning"])
        self.add("report", "report", spec, cells, page, measured)

    def imported(self, name: str, script: str, closure: str, plugins: tuple[str, ...] = ()) -> None:
        """A job that is not run: all modules of its closure are imported."""
        modules = [module for module in closure.split() if not module.startswith("scripts.")]
        self.cases[name] = {
            "script": str(ROOT / f"scripts/{script}.py"),
            "closure": closure,
            "modules": modules,
            "plugins": list(plugins),
        }

    def imports(self) -> dict[str, set[str]]:
        """Runs the jobs; the modules that each has imported."""
        result = subprocess.run(
            [sys.executable, "-m", "tests.support.job_imports"],
            input=json.dumps(self.cases),
            capture_output=True,
            text=True,
            timeout=hanging.SECONDS,
        )
        assert result.returncode == 0, result.stderr
        return {
            name: set(found) for name, found in json.loads(result.stdout.splitlines()[-1]).items()
        }


def engines_in(closure: str) -> list[str]:
    """The engines of a closure, as plugins: a job spec declares the one that will run."""
    named = (module.rpartition(".") for module in closure.split())
    return [f"engines/{n}" for room, _, n in named if room.endswith(".engines") and n[0] != "_"]


def missing(cases: dict[str, dict], imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """For each case what it imports and its closure lacks; neutral modules and their imports aside."""
    around = imports[FRAME]
    lacking = {
        name: {
            module
            for module in found - around - set(cases[name]["closure"].split())
            if not staleness.within(module, staleness.NEUTRAL)
        }
        for name, found in imports.items()
    }
    return {name: modules for name, modules in lacking.items() if modules}


def test_a_job_imports_nothing_that_its_hash_leaves_out(study, monkeypatch):
    """Really run: a model, tokens, every method that walks, each evaluation and what shows cells."""
    closures_instead_of_hashes(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cases = Cases(study)
    cases.model()
    cases.model("other")
    cases.decoded_model()
    cases.tokens()
    walking = [first_step(method) for method in methods.registry().values() if method.is_blockwise]
    for chain in walking:
        cases.compress(chain)
    sweep = ["dense", *cases.plan.study.chains("pruning")]
    for chain in sweep[1:]:
        if f"compress {chain}" not in cases.cases:
            cases.compress(chain)
    for chain in sweep:
        cases.evaluate(chain, "prose-32")
    for evaluation in ("bits", "fast", *tiny_tasks.EVALUATIONS):
        cases.evaluate("dense", evaluation)
    cases.shown()
    imports = cases.imports()
    assert len(imports) == len(cases.cases) > 25
    assert missing(cases.cases, imports) == {}


def specs_of(file: str, tmp_path) -> dict[str, JobSpec]:
    """A job spec for each kind of result of a study, by a name; one for each method and figure."""
    config = schema.load(yaml.safe_load((ROOT / file).read_text()), file)
    study = Study(config, (ROOT / file).parent)
    specs = job_specs.JobSpecs(study, ROOT / "envs", HashCache(tmp_path / "hashes.json"))
    found = {f"model {name}": specs.model(name) for name in config.models}
    found |= {f"figure {part.kind}": specs.figure(name) for name, part in config.figures.items()}
    found |= {f"table {name}": specs.table(name) for name in config.tables}
    found |= {f"transitions {name}": specs.transitions(name) for name in config.sweeps}
    found["report"] = specs.report([])
    for model, chain, evaluation in study.all_cells:
        kind, steps = specs.evaluation(model, chain, evaluation).kind, study.steps(chain)
        last = steps[-1].method if steps else "dense"
        found[f"{kind} {last}"] = specs.evaluation(model, chain, evaluation)
        if len(steps) == 1:
            found[f"compress {last}"] = specs.compress(model, chain)
    for corpus in config.corpora:
        found[f"tokens {corpus}"] = specs.tokens(next(iter(config.models)), corpus)
    return found


STUDIES = ("config.yaml", "studies/demo-gguf.yaml")


@pytest.fixture(scope="module")
def closures(tmp_path_factory) -> dict[str, str]:
    """The modules behind each kind of result of two studies, joined by blanks."""
    folder = tmp_path_factory.mktemp("closures")
    with pytest.MonkeyPatch.context() as monkeypatch:
        closures_instead_of_hashes(monkeypatch)
        return {k: spec.code for file in STUDIES for k, spec in specs_of(file, folder).items()}


def test_what_is_not_run_here_imports_nothing_else_either(closures, monkeypatch):
    """Methods of libraries, GGUF cells and every kind of figure: their modules, imported."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cases = Cases.__new__(Cases)
    cases.cases = {FRAME: AROUND}
    # Results of one closure owe the same: one process imports what any of them may.
    for closure in dict.fromkeys(closures.values()):
        names = [name for name, modules in closures.items() if modules == closure]
        script = next(m for m in closure.split() if m.startswith("scripts."))
        subjects = [name.partition(" ")[2] for name in names]
        measured = (f"evaluations/{name}" for name in evaluations.registry())
        named = (f"{room}/{subject}" for room in ("methods", "figures") for subject in subjects)
        plugins = (*named, *measured, *engines_in(closure))
        cases.imported(", ".join(names), script.removeprefix("scripts."), closure, plugins)
    assert missing(cases.cases, cases.imports()) == {}


@pytest.mark.parametrize(
    ("change", "stale"),
    [("\nCHANGED = True\n", True), ("\n# A comment.\n", False), ('"""More words."""', False)],
)
def test_code_of_any_module_of_the_closure_counts(closures, monkeypatch, change, stale):
    """And comments and docstrings do not; results without the module keep their hash."""
    for module in sorted({m for closure in closures.values() for m in closure.split()}):
        source = staleness.source_of(module)
        other = change + source if change.endswith('"""') else source + change
        assert source.startswith('"""'), f"{module} has no docstring"
        assert (staleness._code_in(source) != staleness._code_in(other)) == stale, module


def test_a_hash_is_that_of_all_modules_of_the_closure(monkeypatch):
    """The module that is changed is deep in the closure, and no hash without it changes."""
    deep, entries = "meltpoint.checkpoints.index", ("scripts.compress", "scripts.table")
    before = [staleness.code_hash(entry) for entry in entries]
    assert [deep in staleness.closure(entry) for entry in entries] == [True, False]
    source_of = staleness.source_of
    monkeypatch.setattr(
        staleness, "source_of", lambda name: source_of(name) + "\nX = 1" * (name == deep)
    )
    staleness.code_hash.cache_clear()
    after = [staleness.code_hash(entry) for entry in entries]
    staleness.code_hash.cache_clear()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]


def test_llama_cpp_counts_only_where_it_computes(closures):
    llama = {name for name, modules in closures.items() if "meltpoint.llamacpp." in modules}
    by_llama = {m.name for m in methods.registry().values() if m.evaluation_env == "llama"}
    assert llama
    assert {name.partition(" ")[2] for name in llama} <= by_llama


def test_a_kind_of_figure_counts_only_for_its_figures(closures):
    kinds = {name.partition(" ")[2] for name in closures if name.startswith("figure ")}
    for name, modules in closures.items():
        own = {kind for kind in kinds if f"meltpoint.figures.{kind}" in modules.split()}
        kind, _, subject = name.partition(" ")
        assert own == ({subject} if kind == "figure" else set()), name


def test_formats_count_where_weights_may_be_packed(closures):
    for name, modules in closures.items():
        method = methods.registry().get(name.partition(" ")[2])
        if method and name.startswith("compress "):
            packed = set(formats.modules()) <= set(modules.split())
            assert packed == (not method.is_blockwise), name


@pytest.mark.parametrize(
    ("triggers", "sentence"),
    [
        (("mtime",), "does not look at the trigger params and input"),
        ((*staleness.TRIGGERS, "code"), "also remakes results for the trigger code"),
    ],
)
def test_other_triggers_than_those_of_the_profiles_are_told(capsys, triggers, sentence):
    staleness.warn.__wrapped__(frozenset(triggers))
    assert sentence in capsys.readouterr().err
    staleness.warn.__wrapped__(frozenset(staleness.TRIGGERS))
    assert not capsys.readouterr().err
