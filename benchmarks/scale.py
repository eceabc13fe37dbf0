"""Time of `snakemake -n` on a study whose cells are all known and finished.

    python -m benchmarks.scale [--cells 1000] [--folder FOLDER] [--profile FILE]

A study of a tiny local model: half as many chains as cells, each of one step, in five methods; a
perplexity and a size of each. Its results are empty files, and Snakemake's own persistence writes the
metadata of each job. So nothing is stale, and each job's spec is compared as on real results. The
first dry run stands for itself; the second one finds Python's caches warm, and is what is printed.
With `--folder` the results stay and are used again; `--profile` writes a profile by cProfile.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
METHODS = ["magnitude", "wanda", "sparsegpt", "ria", "magnitude_sp"]
# Snakemake that takes all jobs as done. Its `--touch` sleeps a tenth of a second for each of them, and
# its scheduler looks at all that are open between two.
RECORD = """
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

def schedule(self):
    for level in self.workflow.dag.toposorted():
        for job in level:
            for file in job.output:
                file.touch()
            self.workflow.async_run(self.workflow.persistence.finished(job))
    return True

JobScheduler.schedule = schedule
main()
"""


def write_study(folder: Path, cells: int) -> Path:
    """The file of a study with so many cells besides those of the dense model."""
    from benchmarks.random_llama import make

    make(folder / "model", blocks=2, hidden=64, intermediate=128)
    (folder / "text.txt").write_text("Nothing of this is read.\n" * 100)
    count = cells // (2 * len(METHODS))
    levels = [round((i + 1) / (count + 2), 6) for i in range(count)]
    study = {
        "study": "scale",
        "models": {"m": {"path": "model"}},
        "corpora": {"c": {"path": "text.txt"}},
        "calibrations": {"default": {"corpus": "c", "samples": 8, "length": 64}},
        "evaluations": {"c-64": {"perplexity": "c", "window": 64}, "size": {"size": "weights"}},
        "chains": {
            "s": {
                "models": ["m"],
                "stages": [{"methods": METHODS, "levels": levels, "skip": False}],
                "evaluations": ["c-64", "size"],
            }
        },
        "compute": {"device": "cpu"},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def snakemake(
    folder: Path,
    *options: str,
    profile: Path | None = None,
    how: tuple[str, str] = ("-m", "snakemake"),
) -> tuple[str, float, float]:
    """Output of Snakemake on the study, with its seconds on the wall and on the CPU."""
    profiled = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiled, *how, "--cores", "1"]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "study.yaml"]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout + done.stderr, wall, cpu


def finish(folder: Path) -> None:
    """Makes the outputs of all jobs, as empty files, and their metadata."""
    rows = snakemake(folder, "--summary")[0].splitlines()
    outputs = [row.split("\t")[0] for row in rows if row.startswith("results/")]
    for output in map(folder.joinpath, outputs):
        if output.name == "checkpoint" or output.parent.name == "models":
            output.mkdir(parents=True)
            (output / "meltpoint.json").touch()
        else:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch()
    snakemake(folder, "--touch", "--forceall", how=("-c", RECORD))


def measure(folder: Path, cells: int, profile: Path | None) -> None:
    """Prints the seconds of a dry run on finished results, which are made if they are not there."""
    if not (folder / "results").exists():
        write_study(folder, cells)
        finish(folder)
    snakemake(folder, "-n")
    text, wall, cpu = snakemake(folder, "-n")
    if "Nothing to be done" not in text:
        sys.exit(f"something is stale:\n{text[-3000:]}")
    print(f"{cells} cells: {wall:.1f} s, {cpu:.1f} CPU-seconds", flush=True)
    if profile:
        snakemake(folder, "-n", profile=profile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    profile = options.profile and options.profile.resolve()
    if options.folder:
        measure(options.folder.resolve(), options.cells, profile)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder, "study"), options.cells, profile)


if __name__ == "__main__":
    main()
