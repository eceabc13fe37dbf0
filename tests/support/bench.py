"""What the scripts do, without Snakemake: each step of the tiny study as one call."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from meltpoint.compression.step import compress
from meltpoint.compute import Compute
from meltpoint.data.tokenization import write_documents, write_stream
from meltpoint.evaluations import perplexity, size
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
        write_stream(facts, file, Path("results/models/tiny"), target)
        return target

    def documents(self, corpus: str) -> list[Path]:
        facts, file = self._corpus(corpus)
        stem = f"results/tiny/tokens/tiny/{corpus}.documents"
        targets = [Path(f"{stem}.npy"), Path(f"{stem}.offsets.npy")]
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

    def perplexity(self, chain: str, evaluation: str) -> Path:
        """Measures a chain without comparing it to the dense model."""
        plan = self.plan
        wildcards = SimpleNamespace(model="tiny", chain=chain, evaluation=evaluation)
        spec = plan.job_specs.evaluation("tiny", chain, evaluation)
        checkpoint, tokens = Path(plan.checkpoint(wildcards)), plan.evaluation_tokens(wildcards)
        cell = Path(f"results/tiny/cells/tiny/{chain}/{evaluation}.json")
        nll = cell.with_suffix(".nll.npy")
        perplexity.measure(checkpoint, Path(tokens), None, cell, nll, spec, COMPUTE)
        return cell

    def size(self, chain: str) -> Path:
        spec = self.plan.job_specs.evaluation("tiny", chain, "bits")
        cell = Path(f"results/tiny/cells/tiny/{chain}/bits.json")
        size.measure(self.checkpoint(chain), Path("results/models/tiny"), cell, spec)
        return cell

    def results(self) -> set[str]:
        """All files among the results."""
        return {str(path) for path in Path("results").rglob("*") if not path.is_dir()}
