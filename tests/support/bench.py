"""What the scripts do, without Snakemake: each step of the tiny study as one call."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from meltpoint import evaluations
from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.data.tokenization import write_documents, write_stream
from meltpoint.evaluations.contract import Inputs
from meltpoint.evaluations.engines import open_engine
from meltpoint.evaluations.measurement import evaluate
from meltpoint.model.base_models import link
from meltpoint.workflow.plan import Plan
from tests.support import tiny_study

COMPUTE = Compute(device="cpu")


@dataclass
class Bench:
    """The tiny study in a folder; `study` may be changed before each step.

    The working directory must be that folder, as it is for a script.
    """

    folder: Path
    study: dict = field(default_factory=tiny_study.study)

    @property
    def plan(self) -> Plan:
        return Plan(copy.deepcopy(self.study), [self.folder / "studies/tiny.yaml"], self.folder)

    def source(self, name: str) -> Path:
        return self.folder / "studies" / name

    def link(self, name: str = "model") -> Path:
        """Links a folder of the study as the model `tiny`."""
        target = Path("results/models/tiny")
        link(self.source(name), target, "models.tiny")
        return target

    def tokens(self, corpus: str) -> Path:
        facts, file = self._corpus(corpus)
        target = Path(f"results/tiny/tokens/tiny/{corpus}.npy")
        ends = target.with_suffix(".ends.npy")
        write_stream(facts, file, Path("results/models/tiny"), target, ends)
        return target

    def documents(self, corpus: str) -> list[Path]:
        facts, file = self._corpus(corpus)
        stem = f"results/tiny/tokens/tiny/{corpus}.documents"
        targets = [Path(f"{stem}.{part}npy") for part in ("", "offsets.", "characters.")]
        write_documents(facts, file, Path("results/models/tiny"), *targets)
        return targets

    def _corpus(self, corpus: str) -> tuple[dict, Path]:
        specs = self.plan.job_specs
        return specs.tokens("tiny", corpus).corpus, specs.corpus_file(corpus)

    def compress(self, chain: str) -> Path:
        """Makes a chain's checkpoint; its parent and its tokens must be there."""
        plan = self.plan
        prefix, plus, step = chain.rpartition("+")
        wildcards = SimpleNamespace(model="tiny", prefix=prefix + plus, step=step)
        spec = plan.job_specs.compress("tiny", chain)
        given = plan.job_specs.windows_file(spec.settings.get("calibration", "default"))
        files = [given] if given else map(Path, plan.calibration_files(wildcards))
        parent, target = Path(plan.parent(wildcards)), self.checkpoint(chain)
        compress(parent, target, spec, list(files), COMPUTE)
        return target

    def checkpoint(self, chain: str) -> Path:
        return Path(f"results/tiny/cells/tiny/{chain}/checkpoint")

    def evaluate(self, chain: str, evaluation: str) -> Path:
        """Measures a chain; the dense model must have been measured before."""
        plan = self.plan
        kind = evaluations.kind_of(plan.config.evaluations[evaluation])
        wildcards = SimpleNamespace(model="tiny", chain=chain, evaluation=evaluation)
        job_spec = plan.job_specs.evaluation("tiny", chain, evaluation)
        files = plan.evaluation_inputs(wildcards)
        cell = Path(f"results/tiny/cells/tiny/{chain}/{evaluation}.json")
        evaluate(
            job_spec,
            Inputs.of(files, COMPUTE, f"evaluations.{evaluation}"),
            [Path(file) for file in files.get("dense", [])],
            [cell, *map(Path, kind.files_beside(str(cell)))],
            open_engine if kind.opens_engine else None,
        )
        return cell

    def results(self) -> set[str]:
        """All files among the results."""
        return {str(path) for path in Path("results").rglob("*") if not path.is_dir()}
