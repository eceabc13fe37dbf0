"""A copy of the project with a tiny study in it, to run and to change."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from meltpoint import evaluations
from tests.support import snakemake_process

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "scripts", "envs", "profiles", "captions",
         "meltpoint", "resources")  # fmt: skip
STUDY = "studies/tiny.yaml"
# What shows the sweep of the tiny study.
SHOWN = ("transitions/pruning", "tables/pruning", "figures/pruning")
# Of the outputs of one job, those that say nothing beyond the first; the page and the record, which
# follow all.
SECOND_OUTPUTS = (
    *(f".{ending}" for kind in evaluations.registry().values() for ending in kind.keeps),
    ".offsets.npy",
    ".ends.npy",
    ".md",
    ".tex",
    ".png",
    "report.html",
    "study.json",
)
# What would lead a copy back to this checkout, or to another profile.
NOT_INHERITED = ("PYTHONPATH", "SNAKEMAKE_PROFILE")


def copy_sources(target: Path) -> None:
    """Copies what the workflow consists of, with what Python has compiled of it."""
    target.mkdir(parents=True)
    for part in filter(Path.exists, (ROOT / name for name in PARTS)):
        if part.is_dir():
            shutil.copytree(part, target / part.name)
        else:
            shutil.copy2(part, target)


@dataclass(frozen=True)
class Run:
    """What a run of Snakemake has come to."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True)
class Project:
    """A folder that holds the workflow, the tiny study and perhaps its results."""

    folder: Path

    def copy(self, target: Path) -> "Project":
        """A copy with all times and all that Snakemake remembers."""
        shutil.copytree(self.folder, target, symlinks=True)
        return Project(target)

    # --- running --------------------------------------------------------------------------------

    def command(self, *arguments: str, studies: tuple[str, ...] = (STUDY,)) -> list[str]:
        given = ["--configfile", *studies] if studies else []
        return [sys.executable, "-m", "snakemake", *arguments, *given]

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
        return {**kept, **changes}

    def snakemake(
        self, *arguments: str, studies: tuple[str, ...] = (STUDY,), **environment: str
    ) -> Run:
        """Runs Snakemake to its end, whatever that is."""
        _, _, _, *given = self.command(*arguments, studies=studies)
        return Run(*snakemake_process.run(given, self.folder, self.environment(**environment)))

    def run(self, *arguments: str, cores: int = 2) -> Run:
        """Runs the study, or the targets named, which must succeed."""
        result = self.snakemake("--cores", str(cores), *arguments)
        assert result.code == 0, result.output
        return result

    def plans(self, *arguments: str, **environment: str) -> dict[str, str]:
        """What `snakemake --summary` plans for every output of the study, by its path."""
        result = self.snakemake("--summary", *arguments, **environment)
        assert result.code == 0, result.output
        rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
        return {row[0]: row[-1] for row in rows}

    def outputs(self, *arguments: str, **environment: str) -> set[str]:
        """The first output of every job of the study, as its path below the study's results."""
        return first_outputs(self.plans(*arguments, **environment))

    def stale(self, *arguments: str, **environment: str) -> set[str]:
        """The outputs that a run would make, or make again."""
        return pending(self.plans(*arguments, **environment))

    # --- changing -------------------------------------------------------------------------------

    @property
    def results(self) -> Path:
        return self.folder / "results/tiny"

    def replace(self, file: str, old: str, new: str) -> None:
        """Replaces what a file must hold exactly once."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def append(self, file: str, text: str) -> None:
        path = self.folder / file
        path.write_text(path.read_text() + text)

    def edit_study(self, change: Callable[[dict], object]) -> None:
        """Changes the study in place, as a dictionary."""
        path = self.folder / STUDY
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def touch(self, *files: str) -> None:
        for file in files:
            assert (self.folder / file).exists(), file
            os.utime(self.folder / file)


def first_outputs(paths: Iterable[str]) -> set[str]:
    """Those of the paths that are a job's first output, as paths below the study's results."""
    return {
        path.removeprefix("results/").removeprefix("tiny/")
        for path in paths
        if not path.endswith(SECOND_OUTPUTS)
    }


def pending(plans: dict[str, str]) -> set[str]:
    """The first outputs that a run would make, of the plans of `Project.plans`."""
    return first_outputs(path for path, plan in plans.items() if plan == "update pending")


def named(outputs: set[str], *parts: str) -> set[str]:
    """The outputs whose path holds one of the parts; each of them must be in one."""
    for part in parts:
        assert any(part in output for output in outputs), f"no output is named {part}"
    return {output for output in outputs if any(part in output for part in parts)}
