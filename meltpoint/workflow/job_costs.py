"""What each job of a study costs, by the arithmetic that it does and the speed of the machine.

A job's CPU-seconds are those of starting, and its floating point operations at the machine's rate. The
operations are counted roughly: passes of tokens through weights, and the dense linear algebra on
matrices of the model's width. How far a rule is from that is learned from its finished jobs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from meltpoint import evaluations, methods
from meltpoint.chain import DENSE, parse_step, spell_chain
from meltpoint.checkpoints.description import FILE
from meltpoint.study.model_sections import TrainedModel
from meltpoint.study.resolved import Study
from meltpoint.study.sections import BuiltinCorpus, LocalCorpus
from meltpoint.workflow.dense_disk import tokens_of
from meltpoint.workflow.model_sizes import ModelSize, ModelSizes

# A text of the size of WikiText-2's test set, where nothing is known of a corpus, and its tokens.
ASSUMED_BYTES, BYTES_PER_TOKEN = 1_290_590, 4.0
# Tokens that a kind reads that has no corpus of the study's, such as questions of tasks.
ASSUMED_TOKENS = 250_000
# Operations for each parameter and token: of a pass, of a training step.
PASS, TRAINING = 2, 6
# A calibrated walk runs each block twice. Gradients take a forward pass and three times its work.
WALK_PASSES, GRADIENT_PASSES = 2, 4
# Sums of outer products of a linear's inputs cost about a pass. What then factors or decomposes a
# matrix of width n takes about so many operations times n for each of its weights.
OUTER_PRODUCTS, DECOMPOSITION = ("hessian",), 10


@dataclass(frozen=True)
class JobCost:
    """A job that is ahead or finished: its rule, its family, what it computes, and where its files are.

    `operations` are floating point operations, `moved` the bytes of weights that it reads and writes,
    `output` says whether it is finished, `benchmark` is
    its benchmark file's path below the study's folder of them. `on_device` says that it runs on the
    study's device, where that is a GPU. `after` are the outputs that it waits for.
    """

    rule: str
    family: str
    operations: float
    output: Path
    benchmark: str
    on_device: bool = True
    after: tuple[Path, ...] = ()
    moved: float = 0.0


class JobCosts:
    """The jobs of a study, whose results are below a folder."""

    def __init__(self, study: Study, sizes: ModelSizes, results: str) -> None:
        self.study, self.sizes, self.results = study, sizes, Path(results)
        self._size = cache(lambda model: sizes.of(model) or ModelSize(0))

    def all(self) -> list[JobCost]:
        """All jobs of the study that make base models, tokens, searches, checkpoints and cells."""
        return [*self._models(), *self._tokens(), *self._steps(), *self._cells()]

    def _checkpoint(self, model: str, chain: str) -> Path:
        if chain == DENSE:
            return Path("results/models") / model
        return self.results / "cells" / model / chain / "checkpoint" / FILE

    def _models(self) -> Iterator[JobCost]:
        for model, declared in self.study.config.models.items():
            size = self._size(model)
            operations = PASS * size.parameters * 16
            rule = "link_model"
            if isinstance(declared, TrainedModel):
                train, rule = declared.train, "train_model"
                operations = TRAINING * size.parameters * train.steps * train.batch * train.length
            output = self._checkpoint(model, DENSE)
            moved = size.parameters * self.sizes.width
            path = f"models/{model}"
            yield JobCost(rule, "base models", operations, output, path, False, moved=moved)

    def _tokens(self) -> Iterator[JobCost]:
        for model in self.study.config.models:
            for corpus in self._corpora():
                output = self.results / "tokens" / model / f"{corpus}.npy"
                after = (self._checkpoint(model, DENSE),)
                path = f"tokens/{model}/{corpus}"
                yield JobCost("tokens", "tokens", 0, output, path, False, after)

    def _corpora(self) -> list[str]:
        kinds = ((evaluations.kind_of(s), s) for s in self.study.config.evaluations.values())
        read = {corpus for kind, settings in kinds for corpus in kind.corpora(settings)}
        drawn = (getattr(c, "corpus", None) for c in self.study.config.calibrations.values())
        return sorted(read | {corpus for corpus in drawn if corpus})

    def _steps(self) -> Iterator[JobCost]:
        searches = set()
        for model, chain in self.study.checkpoints:
            *before, step = self.study.steps(chain)
            prefix, method = spell_chain(tuple(before)), methods.find(step.method)
            after = [self._checkpoint(model, prefix)]
            if method.has_search:
                search = str(method.search_step(step))
                folder = self.results / "cells" / model / prefix / "search"
                after.append(folder / f"{search}.{method.facts.search_format}")
                if after[-1] not in searches:
                    searches.add(after[-1])
                    yield self._search(model, prefix, search, method, after[-1])
            yield JobCost(
                f"compress_{method.name}",
                method.facts.kind,
                self._of_step(self._size(model), method, step),
                self._checkpoint(model, chain),
                f"compress/{model}/{chain}",
                after=tuple(after),
                moved=2 * self._size(model).parameters * self.sizes.width,
            )

    def _search(self, model: str, chain: str, name: str, method, output: Path) -> JobCost:
        size, settings = self._size(model), self.study.search_settings(parse_step(name))
        passes = GRADIENT_PASSES if method.facts.needs_gradients else WALK_PASSES
        return JobCost(
            f"search_{method.name}",
            method.facts.kind,
            PASS * size.decoder * passes * tokens_in(settings.get("windows", {})),
            output,
            f"search/{model}/{chain}/{name}",
            after=(self._checkpoint(model, chain),),
            moved=size.parameters * self.sizes.width,
        )

    def _of_step(self, size: ModelSize, method: methods.Method, step) -> float:
        """Operations of a step: passes of its calibration, linear algebra on matrices, training."""
        tokens = tokens_in(self.study.settings(step).get("windows", {}))
        facts, passes = method.facts, WALK_PASSES
        if facts.gradients or facts.needs_gradients:
            passes += GRADIENT_PASSES
        algebra = facts.kind in ("structured", "low-rank") or not method.is_blockwise
        if set(facts.statistics) & set(OUTER_PRODUCTS):
            passes, algebra = passes + 1, True
        solved = DECOMPOSITION * size.decoder * (size.width or 0) if algebra else size.decoder
        trained = TRAINING * size.parameters * self._trained_tokens(method, step)
        return PASS * size.decoder * passes * tokens + solved + trained

    def _trained_tokens(self, method: methods.Method, step) -> float:
        settings = method.settings(step)
        if "data" not in settings.training_data:
            return 0.0
        corpus = settings.training_data["data"]
        if corpus is None:
            corpus = getattr(self.study.config.calibrations["default"], "corpus", None)
        text = self._bytes_of(corpus) if corpus else ASSUMED_BYTES
        return settings.trained_tokens(text / BYTES_PER_TOKEN)

    def _cells(self) -> Iterator[JobCost]:
        for model, chain, name in self.study.all_cells:
            settings = self.study.config.evaluations[name]
            kind = evaluations.kind_of(settings)
            output = self.results / "cells" / model / chain / f"{name}.json"
            after = [self._checkpoint(model, chain)]
            if chain != DENSE:
                after.append(self.results / "cells" / model / DENSE / f"{name}.json")
            operations = 0.0
            if kind.opens_engine or kind.own_kernels:
                size, tokens = self._size(model), self.tokens(model, name)
                operations = PASS * tokens * (size.decoder + size.vocabulary * (size.width or 0))
            yield JobCost(
                f"evaluate_{kind.name}",
                kind.name,
                operations,
                output,
                f"evaluate/{model}/{chain}/{name}",
                kind.computes and (kind.opens_engine or kind.own_kernels),
                tuple(after),
                self._size(model).parameters * self.sizes.width,
            )

    def tokens(self, model: str, evaluation: str) -> float:
        """Number of tokens that a measurement runs through the model, as far as it is known."""
        settings = self.study.config.evaluations[evaluation]
        if windows := getattr(settings, "windows", None):
            return windows * settings.window
        if hasattr(settings, "prompt") and hasattr(settings, "generated"):
            return getattr(settings, "runs", 1) * (settings.prompt + settings.generated)
        corpora = evaluations.kind_of(settings).corpora(settings)
        if not corpora:
            return ASSUMED_TOKENS
        return (
            tokens_of(self.study, model, settings) or self._bytes_of(corpora[0]) / BYTES_PER_TOKEN
        )

    def _bytes_of(self, corpus: str) -> int:
        """Size of a corpus's text; that of WikiText-2's where it is not on this machine."""
        declared = self.study.config.corpora[corpus]
        if isinstance(declared, LocalCorpus):
            return self.study.path(declared.path).stat().st_size
        if isinstance(declared, BuiltinCorpus):
            return BUILTIN_BYTES[declared.split]
        return ASSUMED_BYTES


# Of Python 3.11's documentation, near enough for every version.
BUILTIN_BYTES = {"train": 1_900_000, "test": 210_000}


def tokens_in(windows: dict) -> int:
    """Number of tokens of a calibration; of the usual 128 windows of 2048 for a file of windows."""
    if "file" in windows:
        return 128 * 2048
    return windows.get("samples", 0) * windows.get("length", 0)
