"""generation: texts by several decoding strategies, with scores of the answers and of the texts.

Each strategy of `strategies` is written like a step of a chain: `fsd_d,alpha=0.6,k=5,n=3`. Greedy
and beam search, temperature, top-k, top-p, min-p, typical and eta sampling are those of
transformers; contrastive search, diverse beam search, contrastive decoding, FSD, FSD-d, DoLa and
Mirostat follow their papers. A stochastic strategy writes a text with each of `seeds`; `spread` is
the standard deviation of its main score over the seeds.

- `mbpp`: `pass_at_1`, the share of 500 problems whose tests the program passes; three shots
- `gsm8k`: `exact_match`, the share of questions with the right number; eight shots
- `prompts`: continuations of the prompts of a JSON lines file. `coherence` is the mean over texts
  of the mean log probability of a continuation's tokens under the dense model. `mauve: true`
  compares the texts with references (a line's `reference` or `gold_ref`, which begins with the
  prompt). It uses the dense model's features, so its numbers cannot be compared with published ones
- all: `rep_4` and `diversity` of the words (Su et al., arXiv 2202.06417), `tokens_per_second`

MBPP runs code that a model wrote. The study must allow this with `execute_code: true`. Each program
runs in a process without network, and with limits of time, memory and files.

The strategies and their settings, with the defaults:

- `greedy`; `beam,beams=4`; `diverse_beam,beams=4,groups=2,diversity_penalty=1`
- `contrastive_search,alpha=0.6,k=5`; `fsd,alpha=0.4,k=5,n=2`; `fsd_d,alpha=0.6,k=5,n=3`
- `contrastive_decoding,alpha=0.1,beta=0.5,amateur=...`: the amateur is a model of the study, or
  model/chain, with the same vocabulary
- `dola,candidate_layers=2-4-6,mature_layer=32,relative_top=0.1,repetition_penalty=1.2`: the mature
  layer is the last by default, candidates are every second layer of the first half
- `sample,temperature=1,top_k=0,top_p=1,min_p=0,typical=1,eta=0`: these defaults cut nothing
- `mirostat,tau=3,rate=1`
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from meltpoint.errors import MeltpointError
from meltpoint.evaluations import _decoding
from meltpoint.evaluations._decoding import Strategy
from meltpoint.evaluations._degenerate import RefusingSettings
from meltpoint.evaluations._degenerate import scores as degenerate_scores
from meltpoint.evaluations._kept import SAMPLES
from meltpoint.evaluations.contract import (
    DataSettings,
    Estimate,
    Inputs,
    Kept,
    Measurement,
    Needs,
    ScoreSpec,
)

if TYPE_CHECKING:
    from meltpoint.evaluations._generation.documents import Document
    from meltpoint.evaluations.engines._engine import Engine

keeps = (SAMPLES,)
sources = tuple(module.__name__ for module in _decoding.registry().values())
example = {
    "generation": "gsm8k",
    "data": "tasks",
    "strategies": ["greedy", "fsd_d,alpha=0.6", "sample,top_p=0.95"],
}
FILES = {"mbpp": Path("mbpp/mbpp.jsonl"), "gsm8k": Path("gsm8k/test.jsonl")}
PROMPTS = Path("decoding_prompts/prompts.jsonl")
FEWEST_FOR_MAUVE = 100
# The first part of the names of shares of degenerate texts.
DEGENERATE = "degenerate"
SCORES = {
    "pass_at_1": ("fraction", "higher", "pass@1"),
    "exact_match": ("fraction", "higher", "exact match"),
    "diversity": ("fraction", "higher", "diversity"),
    "coherence": ("nats", "higher", "coherence"),
    "mauve": ("fraction", "higher", "MAUVE"),
    "rep_4": ("fraction", "lower", "rep-4"),
}
# The scores of each task, the main one first.
TASKS = {
    "mbpp": ("pass_at_1", "rep_4", "diversity"),
    "gsm8k": ("exact_match", "rep_4", "diversity"),
    "prompts": ("diversity", "rep_4", "coherence"),
}


class Settings(DataSettings, RefusingSettings):
    """Scores of texts that a model writes with several decoding strategies."""

    generation: Literal["mbpp", "gsm8k", "prompts"] = Field(description="What is written.")
    strategies: tuple[str, ...] = Field(
        min_length=1,
        description="Decoding strategies with their settings, spelled as steps. In a list in [...] a "
        "strategy with settings is quoted.",
    )
    prompts: Path | None = Field(
        None,
        description="With `prompts`: a JSON lines file in the folder `data`, relative to the study's "
        "file without one. A line has a text as `prompt` or `instructions`, or token numbers as "
        "`tokens`. Default: decoding_prompts/prompts.jsonl.",
    )
    max_new_tokens: int = Field(512, ge=1, description="The most tokens of a text.")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), min_length=1, description="Seeds of the stochastic strategies."
    )
    mauve: bool = Field(
        False, description="With `prompts` that have references: whether MAUVE is computed."
    )
    execute_code: bool = Field(
        False, description="Whether programs that the model wrote are run, which MBPP needs."
    )
    time_limit: float = Field(5.0, gt=0, description="Seconds that a program may run.")

    @model_validator(mode="before")
    @classmethod
    def _find_prompts(cls, values: Any) -> Any:
        """Splits the path of the prompts into `data` and a file's name: data files are in a folder."""
        if not isinstance(values, dict) or not values.get("prompts") or values.get("data"):
            return values
        path = Path(values["prompts"])
        return (
            {**values, "data": path.parent, "prompts": path.name}
            if path.is_absolute()
            else {**values, "data": Path(".")}
        )

    @field_validator("strategies")
    @classmethod
    def _strategies_are_known(cls, strategies: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for spelled in strategies:
                _decoding.parse(spelled)
        except MeltpointError as error:
            raise ValueError(str(error)) from None
        if len(set(strategies)) < len(strategies):
            raise ValueError("a strategy is there twice")
        return strategies

    @field_validator("seeds")
    @classmethod
    def _seeds_are_draws(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0:
            raise ValueError(f"{min(seeds)} is no seed: seeds are numbers from 0 on")
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is there twice: its texts are the same, and would count twice")
        return seeds

    @model_validator(mode="after")
    def _code_may_be_run(self) -> Self:
        if self.generation == "mbpp" and not self.execute_code:
            raise ValueError(
                "execute_code: mbpp runs programs that the model wrote; say true to allow it"
            )
        if self.prompts is not None and self.generation != "prompts":
            raise ValueError(
                f"prompts: {self.generation} has prompts of its own; leave the key out"
            )
        if self.mauve and self.generation != "prompts":
            raise ValueError(f"mauve: {self.generation} has no references; leave the key out")
        if self.mauve and self.limit is not None and self.limit < FEWEST_FOR_MAUVE:
            raise ValueError(
                f"limit: {self.limit} texts are too few for MAUVE, which needs {FEWEST_FOR_MAUVE}"
            )
        return self

    @property
    def file(self) -> Path:
        """The file of prompts in the folder `data`."""
        return FILES.get(self.generation) or self.prompts or PROMPTS

    @property
    def parsed(self) -> tuple[Strategy, ...]:
        """The strategies with their settings."""
        return tuple(map(_decoding.parse, self.strategies))

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores of each strategy, the main one first."""
        return (*TASKS[self.generation], *(["mauve"] if self.mauve else []))

    def seeds_of(self, strategy: Strategy) -> tuple[int, ...]:
        """The seeds of a strategy's runs: all for a stochastic strategy, else the first alone."""
        return self.seeds if strategy.stochastic else self.seeds[:1]


def scores(settings: Settings) -> tuple[ScoreSpec, ...]:
    """The scores of each strategy, and the shares of degenerate texts."""
    return tuple(spec for each in settings.parsed for spec in _scores_of(each, settings))


def _scores_of(strategy: Strategy, settings: Settings) -> list[ScoreSpec]:
    name, names = strategy.spelled, settings.score_names
    specs = [ScoreSpec(f"{name}.{each}", *_labelled(name, *SCORES[each])) for each in names]
    if len(settings.seeds_of(strategy)) > 1:
        unit, _, label = SCORES[names[0]]
        spread = (unit, "lower", f"{label}, spread of seeds")
        specs.append(ScoreSpec(f"{name}.spread", *_labelled(name, *spread)))
    speed = ("tokens/s", "higher", "tokens per second")
    specs.append(ScoreSpec(f"{name}.tokens_per_second", *_labelled(name, *speed)))
    specs += [
        ScoreSpec(f"{name}.{each.name}", each.unit, each.better, f"{each.label} ({name})")
        for each in degenerate_scores
    ]
    return specs


def _labelled(name: str, unit: str, better: str, label: str) -> tuple[str, str, str]:
    return unit, better, f"{label} ({name})"


def needs(settings: Settings) -> Needs:
    """The file of prompts, the amateurs, and for coherence the dense model."""
    return Needs(
        data_files=(str(settings.file),),
        dense_checkpoint="coherence" in TASKS[settings.generation],
        checkpoints=tuple(dict.fromkeys(s.amateur for s in settings.parsed if s.amateur)),
        same_vocabulary=True,
    )


def check(key: str, settings: Settings, data: Path) -> None:
    """Raises MeltpointError for a broken file of prompts, and for missing references for MAUVE."""
    _documents(key, settings, data)


def _documents(key: str, settings: Settings, data: Path) -> tuple[list[Document], list[str]]:
    """The documents and, for MAUVE alone, their references."""
    from meltpoint.evaluations._generation import mauve
    from meltpoint.evaluations._generation.documents import read_documents

    documents = read_documents(data / settings.file, settings.generation, settings.limit)
    return documents, mauve.references(key, documents) if settings.mauve else []


def measure(engine: Engine, inputs: Inputs, settings: Settings) -> Measurement:
    """The texts of all strategies as samples, and each strategy's speed in tokens per second.

    Raises MeltpointError for a broken file of prompts, and for an amateur with another vocabulary.
    """
    from meltpoint.evaluations._generation import mauve
    from meltpoint.evaluations._generation.judge import judge, mauve_scores
    from meltpoint.evaluations._generation.writing import Writer

    documents, references = _documents(inputs.key, settings, inputs.data)
    writer = Writer(engine, inputs, settings, documents)
    samples, speeds = [], {}
    for strategy in settings.parsed:
        written, speeds[f"{strategy.spelled}.tokens_per_second"] = writer.write(strategy)
        samples += written
    samples = judge(samples, documents, writer.prompts, engine, inputs, settings)
    similar = mauve_scores(samples, writer, references, inputs) if settings.mauve else {}
    return Measurement(
        scores={**speeds, **similar},
        kept={SAMPLES: samples},
        protocol={
            "documents": len(documents),
            "prompts_cut": writer.cut_prompts,
            "batch": inputs.compute.batch,
            **({"mauve_by": mauve.protocol()} if settings.mauve else {}),
            **engine.provenance,
        },
        warnings=writer.warnings(),
    )


def estimate(kept: Kept, inputs: Inputs, settings: Settings) -> dict[str, Estimate]:
    """The scores that are computed from the samples, by name."""
    from meltpoint.evaluations._generation.samples import estimates

    return estimates(kept[SAMPLES], settings, TASKS[settings.generation])


def is_stochastic(strategy: str) -> bool:
    """True if a strategy draws tokens; `strategy` is its text in the study."""
    return _decoding.parse(strategy).stochastic


def is_like(strategy: str, published: str) -> bool:
    """True if a study's strategy matches a published table's name.

    The published name is a strategy, `beam`, or a strategy with the keys that are set, `sample,top_p`.
    The settings' values do not count.
    """
    (name, *keys), (other, *needed) = strategy.split(","), published.split(",")
    return name == other and (not needed or {k.partition("=")[0] for k in keys} == set(needed))


def split_score(score: str) -> tuple[str, str]:
    """The strategy in a score's name, and the rest: `greedy.rep_4` gives `greedy` and `rep_4`."""
    ending = re.search(rf"(\.{DEGENERATE})?\.\w+$", score)[0]
    return score.removesuffix(ending), ending[1:]
