"""What each result is made from, and nothing else: the one param of its rule, as canonical JSON.

A result is stale when its recipe, or the time of one of its inputs, has changed. So a recipe holds
the resolved settings, the hash of the code that computes the result, that of its environment's file,
those of source files outside results/ (whose times then do not matter), and under `from` that of the
recipes of its inputs. Of those last Snakemake needs no telling while it makes an input anew; but where
that has failed, the input is gone, and what was made from the old one would pass for current.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from meltpoint import evaluations, methods
from meltpoint.chain import DENSE, Step, methods_of, settings_of, spell_chain
from meltpoint.data import published
from meltpoint.data.text_files import suffix_of
from meltpoint.evaluations import engines
from meltpoint.hashing import (
    HashCache,
    canonical_json,
    hash_file,
    hash_sources,
    hash_text,
    with_imports,
)
from meltpoint.published import page as published_page
from meltpoint.report import study as study_page
from meltpoint.study.resolved import Study
from meltpoint.study.sections import (
    BuiltinCorpus,
    GivenCalibration,
    HubModel,
    LocalModel,
    TokenCorpus,
)

CODE = {
    "train": "meltpoint.demo.train",
    "tokens": "meltpoint.data.tokenization",
    "transitions": "meltpoint.transitions.fit",
    "table": "meltpoint.tables.build",
    "curves": "meltpoint.figures.curves",
    "spread": "meltpoint.figures.spread",
    "tradeoff": "meltpoint.figures.tradeoff",
    "contour": "meltpoint.figures.contour",
    "report": "meltpoint.report.build",
}
# Modules that cannot change a number: progress bars, timing, the texts of errors. The modules of
# llama.cpp count where a chain is evaluated in its environment, so that they make no other cell stale.
NEUTRAL = ("meltpoint.errors", "meltpoint.progress", "meltpoint.timing")
LLAMA, LLAMA_ENV = "meltpoint.llamacpp", "llama"

# Where the template, the styles and the script of a page lie.
PAGE = Path(study_page.__file__).parent


@cache
def code(modules: tuple[str, ...], without: tuple[str, ...] = ()) -> str:
    """The hash of modules and of all of Meltpoint's that they import, but for some."""
    return hash_sources(with_imports(modules, (*NEUTRAL, *without)))


def code_of(kind: str) -> str:
    """The hash of the code that makes a kind of result."""
    return code((CODE[kind],), (LLAMA,))


def digest(recipes: Iterable[str]) -> str:
    return hash_text("\n".join(recipes))[:16]


class Recipes:
    """The recipes of a study's results. `envs` is the folder of environment files."""

    def __init__(self, study: Study, envs: Path, hashes: HashCache) -> None:
        self.study, self.config = study, study.config
        self.envs, self.hashes = envs, hashes
        self._env = cache(lambda name: hash_file(envs / f"{name}.yaml")[:16])
        self.compress = cache(self.compress)

    def _json(self, kind: str, env: str, *inputs: str, **facts: object) -> str:
        made = {"code": code_of(kind), "env": self._env(env), "from": digest(inputs)}
        return canonical_json({**facts, **made})

    def model(self, name: str) -> str:
        """The base checkpoint: its source, and the hash of a local folder's files."""
        model = self.config.models[name]
        if isinstance(model, LocalModel):
            folder = self.study.path(model.path)
            return canonical_json({"path": str(folder), "files": self.hashes.folder(folder)})
        if isinstance(model, HubModel):
            return canonical_json(model.model_dump(mode="json"))
        from meltpoint.demo.text import version

        return self._json(
            "train", "torch", train=model.train.model_dump(mode="json"), text=version()
        )

    def tokens(self, model: str, corpus: str) -> str:
        """A corpus's tokens: its declaration and the content of its file."""
        declared = self.config.corpora[corpus]
        facts = declared.model_dump(mode="json", exclude={"path", "tokens"})
        if (file := self.corpus_file(corpus)) is not None:
            facts |= {"suffix": suffix_of(file), "file": self.hashes.file(file)}
        if isinstance(declared, BuiltinCorpus):
            from meltpoint.demo.text import version

            facts |= {"text": version()}
        return self._json("tokens", "torch", self.model(model), corpus=facts)

    def corpus_file(self, corpus: str) -> Path | None:
        """A local corpus's file."""
        declared = self.config.corpora[corpus]
        file = declared.tokens if isinstance(declared, TokenCorpus) else None
        file = getattr(declared, "path", file)
        return None if file is None else self.study.path(file)

    def windows_file(self, calibration: str) -> Path | None:
        """The file of a calibration that is given as windows."""
        declared = self.config.calibrations[calibration]
        return self.study.path(declared.windows) if isinstance(declared, GivenCalibration) else None

    def checkpoint(self, model: str, chain: str) -> str:
        """A chain's checkpoint, that of the empty chain too."""
        return self.model(model) if chain == DENSE else self.compress(model, chain)

    def compress(self, model: str, chain: str) -> str:
        """A chain's checkpoint: its last step's settings and the method's code."""
        *steps, step = self.study.steps(chain)
        prefix = spell_chain(tuple(steps))
        method = methods.find(step.method)
        settings = self.study.settings(step)
        inputs = [self.checkpoint(model, prefix)]
        if method.calibrated(step):
            inputs += self._calibration(model, settings)
        if method.has_search:
            inputs.append(self.search(model, prefix, method.search_step(step)))
        return canonical_json(
            {
                "chain": chain,
                "prefix": prefix,
                "from": digest(inputs),
                "step": str(step),
                "settings": settings,
                "dtype": self.config.compute.dtype,
                "code": code(method.sources),
                "env": self._env(method.env),
            }
        )

    def search(self, model: str, chain: str, step: Step) -> str:
        """A method's search on a chain's checkpoint: the settings that it reads, and its code."""
        method = methods.find(step.method)
        settings = self.study.search_settings(step)
        inputs = [self.checkpoint(model, chain)]
        if "windows" in settings:
            inputs += self._calibration(model, settings)
        return canonical_json(
            {
                "search": str(step),
                "chain": chain,
                "from": digest(inputs),
                "settings": settings,
                "dtype": self.config.compute.dtype,
                "code": code(method.search_sources),
                "env": self._env(method.env),
            }
        )

    def _calibration(self, model: str, settings: dict) -> list[str]:
        """The recipes of the calibration's tokens; windows that are given as a file go by its hash."""
        if file := self.windows_file(settings["calibration"]):
            settings["windows"] = {"file": self.hashes.file(file)}
            return []
        return [self.tokens(model, settings["windows"]["corpus"])]

    def evaluation(self, model: str, chain: str, evaluation: str) -> str:
        """A cell: its kind, settings and main score, and what of `compute` changes its numbers."""
        settings = self.config.evaluations[evaluation]
        kind = evaluations.kind_of(settings)
        tokens = (self.tokens(model, corpus) for corpus in kind.corpora(settings))
        facts = {
            "cell": {"model": model, "chain": chain, "evaluation": evaluation},
            "kind": kind.name,
            "main": next(iter(kind.scores(settings))),
            "settings": settings.model_dump(mode="json", exclude={"main"}),
            "compute": {key: getattr(self.config.compute, key) for key in kind.compute},
            "code": self._code_of_evaluation(kind, chain),
            "env": self._env(self.runtime(chain, evaluation)),
            "from": digest([self.checkpoint(model, chain), *tokens]),
        }
        return canonical_json(facts)

    def _code_of_evaluation(self, kind: evaluations.Evaluation, chain: str) -> str:
        """The hash of a kind's code, and of the engine that runs a chain's checkpoint for it."""
        steps = self.study.steps(chain)
        env = methods.find(steps[-1].method).evaluation_env if steps else "torch"
        runs = kind.opens_engine or kind.own_kernels
        engine = engines.planned(env, kind.own_kernels).sources if runs else ()
        return code((*kind.sources, *engine), () if env == LLAMA_ENV else (LLAMA,))

    def runtime(self, chain: str, evaluation: str) -> str:
        """The environment that a chain's cell is measured in.

        It is the evaluation's own, unless the last method has one for what it makes.
        """
        kind = evaluations.kind_of(self.config.evaluations[evaluation])
        steps = self.study.steps(chain)
        last = methods.find(steps[-1].method) if steps else None
        if last is None:
            return kind.env
        if kind.own_kernels and not last.is_blockwise:
            return last.env
        return kind.env if last.evaluation_env == "torch" else last.evaluation_env

    def _cells(self, part) -> list[str]:
        """The cells that a table or figure shows."""
        return [self.evaluation(*cell) for cell in self.study.cells(part.of, *part.evaluations)]

    def steps(self, group: str) -> dict[str, dict]:
        """Per chain of a group: what the tidy frame says of it (method, level, settings, kind)."""
        chains = ["dense", *self.study.chains(group)]
        return {chain: self._describe(chain) for chain in chains}

    def _describe(self, chain: str) -> dict:
        steps = self.study.steps(chain)
        if not steps:
            return {"method": "dense", "level": "", "settings": "", "kind": ""}
        last = steps[-1]
        return {
            "method": methods_of(steps),
            "level": "+".join(str(s.level) for s in steps if s.level is not None),
            "settings": settings_of(steps),
            "kind": methods.find(last.method).kind,
        }

    def transitions(self, sweep: str) -> str:
        inputs = [self.evaluation(*cell) for cell in self.study.perplexity_cells(sweep)]
        return self._json("transitions", "analysis", *inputs, steps=self.steps(sweep))

    def table(self, name: str) -> str:
        table = self.config.tables[name]
        facts = {"spec": table.model_dump(mode="json"), "steps": self.steps(table.of)}
        facts |= self._beside(table)
        return self._json("table", "analysis", *self._cells(table), **facts)

    def _beside(self, part) -> dict[str, str]:
        """The published table that a table or figure puts beside the study's own, and its code."""
        if part.published is None:
            return {}
        read = code(("meltpoint.data.published.frames",))
        return {"published": hash_file(published.FOLDER / f"{part.published}.csv"), "read": read}

    def figure(self, name: str) -> str:
        figure = self.config.figures[name]
        inputs = self._cells(figure)
        if figure.fit:
            inputs.append(self.transitions(figure.of))
        facts = {"spec": figure.model_dump(mode="json"), "steps": self.steps(figure.of)}
        facts |= self._beside(figure)
        return self._json(figure.kind, "analysis", *inputs, **facts)

    def published(self, module: str, *tables: str, **facts: object) -> str:
        """What a module of ours ("published.order") makes of published tables, by their names."""
        files = {name: hash_file(published.FOLDER / f"{name}.csv") for name in tables}
        made = {"code": code((f"meltpoint.{module}",)), "env": self._env("analysis")}
        return canonical_json({**facts, "files": files, **made})

    def report(self, curves: list[str]) -> str:
        """The study's page. curves: the sweeps whose fitted curves it shows."""
        inputs = [
            *(self.evaluation(*cell) for cell in self.study.all_cells),
            *map(self.transitions, curves),
            *map(self.table, self.config.tables),
            *map(self.figure, self.config.figures),
        ]
        return self._page(study_page.page(self.config, curves), *inputs)

    def published_report(self) -> str:
        """The page of the published results."""
        return self._page(published_page.page())

    def _page(self, page: dict, *inputs: str) -> str:
        assets = {name: hash_file(PAGE / name) for name in ("page.html", "page.css", "page.js")}
        return self._json("report", "analysis", *inputs, page=page, assets=assets)
