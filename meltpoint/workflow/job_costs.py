"""What each job of a study costs, by the arithmetic that it does and the speed of the machine.

A job's CPU-seconds are those of starting, of the bytes that it moves, and of its work at the machine's
rates (`meltpoint.workflow.arithmetic`): passes of tokens through weights, what is done with each
weight, and the dense linear algebra on matrices of the model's width. How far a rule is from that is
learned from its finished jobs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from meltpoint import evaluations, methods
from meltpoint.chain import DENSE, Step, parse_step, spell_chain
from meltpoint.checkpoints.description import FILE
from meltpoint.methods.settings import MethodSettings
from meltpoint.study.model_sections import TrainedModel
from meltpoint.study.resolved import Study
from meltpoint.study.sections import BuiltinCorpus, LocalCorpus
from meltpoint.workflow import arithmetic
from meltpoint.workflow.arithmetic import GRADIENT_PASSES, PASS, TRAINING, Work
from meltpoint.workflow.dense_disk import tokens_of
from meltpoint.workflow.model_sizes import ModelSize, ModelSizes

# A text of the size of WikiText-2's test set, where nothing is known of a corpus, and its tokens.
ASSUMED_BYTES, BYTES_PER_TOKEN = 1_290_590, 4.0
# Tokens that a kind reads that has no corpus of the study's, such as questions of tasks.
ASSUMED_TOKENS = 250_000
# Tokens of a task's document with its answers, and of each example before it. Answers share their
# context: a document of ARC-easy or PIQA takes SmolLM2-135M as long as 50 to 70 tokens.
DOCUMENT_TOKENS = 80
# Length of the windows of a file, before it is read; blocks of a model whose config is not there yet.
USUAL_LENGTH, USUAL_BLOCKS = 2048, 32
# Sums of outer products of a linear's inputs cost about a pass. What then factors or decomposes a
# matrix of width n takes about so many operations times n for each of its weights.
OUTER_PRODUCTS, DECOMPOSITION = ("hessian",), 10


@dataclass(frozen=True)
class JobCost:
    """A job that is ahead or finished: its rule, its family, what it computes, and where its files are.

    `work` is its arithmetic, `moved` the bytes of weights that it reads and writes, `output` says
    whether it is finished, `benchmark` is its benchmark file's path below the study's folder of them.
    `on_device` says that it runs on the study's device, where that is a GPU. `after` are the outputs
    that it waits for.
    """

    rule: str
    family: str
    work: Work
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
            work, rule = arithmetic.weights(size, arithmetic.READ), "link_model"
            if isinstance(declared, TrainedModel):
                train, rule = declared.train, "train_model"
                tokens = train.steps * train.batch * train.length
                work = self._training(size, tokens, train.length)
            output = self._checkpoint(model, DENSE)
            moved = size.parameters * self.sizes.width
            path = f"models/{model}"
            yield JobCost(rule, "base models", work, output, path, False, moved=moved)

    def _tokens(self) -> Iterator[JobCost]:
        for model in self.study.config.models:
            for corpus in self._corpora():
                output = self.results / "tokens" / model / f"{corpus}.npy"
                after = (self._checkpoint(model, DENSE),)
                path = f"tokens/{model}/{corpus}"
                yield JobCost("tokens", "tokens", Work(), output, path, False, after)

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
        windows = settings.get("windows", {})
        work = _calibration(size, windows, gradients=method.facts.needs_gradients)
        work += arithmetic.weights(size, arithmetic.READ)
        return JobCost(
            f"search_{method.name}",
            method.facts.kind,
            work + self._candidates(size, method, parse_step(name), windows),
            output,
            f"search/{model}/{chain}/{name}",
            after=(self._checkpoint(model, chain),),
            moved=size.parameters * self.sizes.width,
        )

    def _candidates(
        self, size: ModelSize, method: methods.Method, step: Step, windows: dict
    ) -> Work:
        """Work of what a search tries: the windows that go through blocks and head for it."""
        length, blocks = windows.get("length", USUAL_LENGTH), size.blocks or USUAL_BLOCKS
        drawn = tokens_in(windows) // length
        in_block, in_head = method.search_windows(method.settings(step), blocks, drawn)
        passes = arithmetic.blocks(size, in_block * length, length) * (1 / blocks)
        return passes + arithmetic.head(size, in_head * length)

    def _of_step(self, size: ModelSize, method: methods.Method, step: Step) -> Work:
        """Work of a step: passes of its calibration, on each weight, linear algebra, training."""
        settings, windows = method.settings(step), self.study.settings(step).get("windows", {})
        facts, sums = method.facts, set(method.statistics(settings)) & set(OUTER_PRODUCTS)
        work = arithmetic.weights(size, arithmetic.COMPRESSED)
        work += _calibration(
            size,
            windows,
            outer_products=bool(sums),
            gradients=facts.needs_gradients and not method.has_search,
        )
        if solves(method, settings) or not method.is_blockwise:
            work += Work(DECOMPOSITION * size.decoder * (size.width or 0))
        return work + self._training(size, self._trained_tokens(method, step))

    def _training(self, size: ModelSize, tokens: float, length: float = 0.0) -> Work:
        """Work of training steps on so many tokens: a pass, and twice as much for gradients."""
        passes = arithmetic.blocks(size, tokens, length) + arithmetic.head(size, tokens)
        return passes * (TRAINING / PASS)

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
            work = Work()
            if kind.opens_engine or kind.own_kernels:
                work = self._of_cell(self._size(model), name, self.tokens(model, name))
            yield JobCost(
                f"evaluate_{kind.name}",
                kind.name,
                work,
                output,
                f"evaluate/{model}/{chain}/{name}",
                kind.computes and (kind.opens_engine or kind.own_kernels),
                tuple(after),
                self._size(model).parameters * self.sizes.width,
            )

    def _of_cell(self, size: ModelSize, evaluation: str, tokens: float) -> Work:
        """Work of a measurement; one that reads the dense model's hidden states runs its head too."""
        settings = self.study.config.evaluations[evaluation]
        heads = 2 if evaluations.kind_of(settings).needs(settings).dense_files else 1
        length = getattr(settings, "window", 0)
        passes = arithmetic.blocks(size, tokens, length) + arithmetic.head(size, tokens) * heads
        return passes + arithmetic.weights(size, arithmetic.READ)

    def tokens(self, model: str, evaluation: str) -> float:
        """Number of tokens that a measurement runs through the model, as far as it is known."""
        settings = self.study.config.evaluations[evaluation]
        if hasattr(settings, "prompt") and hasattr(settings, "generated"):
            return getattr(settings, "runs", 1) * (settings.prompt + settings.generated)
        if documents := getattr(settings, "limit", None):
            texts = documents * (1 + (getattr(settings, "shots", None) or 0))
            return DOCUMENT_TOKENS * texts * len(getattr(settings, "tasks", [evaluation]))
        corpora = evaluations.kind_of(settings).corpora(settings)
        if not corpora:
            return ASSUMED_TOKENS
        text = tokens_of(self.study, model, settings)
        text = text or self._bytes_of(corpora[0]) / BYTES_PER_TOKEN
        windows = getattr(settings, "windows", None)
        return min(windows * settings.window, text) if windows else text

    def _bytes_of(self, corpus: str) -> int:
        """Size of a corpus's text; that of WikiText-2's where it is not on this machine."""
        declared = self.study.config.corpora[corpus]
        if isinstance(declared, LocalCorpus):
            return self.study.path(declared.path).stat().st_size
        if isinstance(declared, BuiltinCorpus):
            return BUILTIN_BYTES[declared.split]
        return ASSUMED_BYTES


# Of Python 3.11's documentation, near enough for every version.
BUILTIN_BYTES = {"train": 1_900_000, "test": 170_000}


def solves(method: methods.Method, settings: MethodSettings) -> bool:
    """True for a step that factors or decomposes matrices of a linear's width.

    A structured method with a search does not: its search has chosen what goes.
    """
    if set(method.statistics(settings)) & set(OUTER_PRODUCTS) or method.facts.kind == "low-rank":
        return True
    return method.facts.kind == "structured" and not method.has_search


def _calibration(
    size: ModelSize, windows: dict, *, outer_products: bool = False, gradients: bool = False
) -> Work:
    """Work of a walk: a pass for statistics, one for the next block's inputs, those of gradients."""
    tokens = tokens_in(windows)
    walk = arithmetic.blocks(size, tokens, windows.get("length", 0))
    passes = 2 - 1 / (size.blocks or 1) + (GRADIENT_PASSES if gradients else 0)
    sums = Work(PASS * size.decoder * tokens) if outer_products else Work()
    return walk * passes + sums


def tokens_in(windows: dict) -> int:
    """Number of tokens of a calibration; of the usual 128 windows of 2048 for a file of windows."""
    if "file" in windows:
        return 128 * USUAL_LENGTH
    return windows.get("samples", 0) * windows.get("length", 0)
