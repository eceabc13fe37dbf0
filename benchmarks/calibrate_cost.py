"""Constants of the bill that `snakemake -n` prints, measured on this machine.

    python -m benchmarks.calibrate_cost [STUDY.yaml ...] [--ship]

Measures what a job takes to start and the rate of matrix products, on the CPU and on a GPU if there is
one (half a minute). The finished jobs of the studies, by default of config.yaml, then say how far each
rule is from its arithmetic. Writes results/cost.json, or with --ship resources/cost.json, which counts
where nothing was measured.
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

from meltpoint.files import write_json
from meltpoint.study import config
from meltpoint.study.resolved import Study
from meltpoint.workflow.cost_model import MEASURED, SHIPPED, Constants, CostModel, measured
from meltpoint.workflow.job_costs import JobCost, JobCosts
from meltpoint.workflow.model_sizes import ModelSizes

# What a job imports that loads a model and computes.
JOB = """
from meltpoint.workflow.transformers_import import import_transformers
import_transformers()
import meltpoint.compression.step, meltpoint.evaluations.measurement
"""
# Operations of a GPU in a second where there is none to measure: two fifths of what an A100's 16-bit
# units have on paper.
ASSUMED_GPU_RATE = 1.2e14
SIZE, SECONDS = 768, 1.0


def start_seconds() -> float:
    """CPU-seconds that a job takes to import what it needs; the least of three runs."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", JOB], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(seconds)


def matrix_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """Floating point operations of matrix products in a second, of a thread or of a GPU."""
    torch.set_num_threads(1)
    clock = time.process_time if device == "cpu" else time.perf_counter
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    for _ in range(3):
        a @ b
    count, start = 0, clock()
    while clock() - start < SECONDS:
        for _ in range(10):
            a @ b
        if device != "cpu":
            torch.cuda.synchronize()
        count += 10
    return count * 2 * size**3 / (clock() - start)


def bytes_rate() -> float:
    """Bytes of float32 weights that a thread writes and reads again in a second."""
    weights = {"x": torch.randn(2**24)}
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder) / "x.safetensors", time.process_time()
        save_file(weights, path)
        load_file(path)["x"].sum()
        return 2 * 4 * 2**24 / (time.process_time() - start)


def finished(study_file: Path) -> list[tuple[JobCost, float]]:
    """Finished jobs of a study with their CPU-seconds."""
    study = Study(
        config.load(yaml.safe_load(study_file.read_text()), study_file.name), study_file.parent
    )
    results = f"results/{study.config.study}"
    jobs = JobCosts(study, ModelSizes(study), results).all()
    return measured(jobs, Path(results) / "benchmarks")


def main() -> None:
    """Measures, learns and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("studies", nargs="*", type=Path, default=[Path("config.yaml")])
    parser.add_argument("--ship", action="store_true", help="write resources/cost.json")
    arguments = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    gpu_rate = matrix_rate("cuda", torch.bfloat16, 8192) if has_gpu else ASSUMED_GPU_RATE
    machine = Constants(
        start=round(start_seconds(), 2),
        rate=float(f"{matrix_rate('cpu', torch.float32, SIZE):.3g}"),
        gpu_rate=float(f"{gpu_rate:.3g}"),
        bytes_rate=float(f"{bytes_rate():.3g}"),
        gpu_measured=has_gpu,
        source=f"{platform.machine()}, torch {torch.__version__}",
    )
    jobs = [pair for file in arguments.studies for pair in finished(file)]
    rules = CostModel(machine, jobs).rules
    rounded = {
        name: {key: float(f"{value:.3g}") for key, value in rule.model_dump().items()}
        for name, rule in sorted(rules.items())
    }
    target = SHIPPED if arguments.ship else MEASURED
    write_json(target, {**machine.model_dump(), "rules": rounded})
    print(
        f"{target}: {machine.start} s to start, {machine.rate:.3g} operations a second of a thread, "
    )
    print(
        f"{machine.gpu_rate:.3g} of a GPU{'' if has_gpu else ' (assumed)'}; {len(jobs)} finished jobs"
    )


if __name__ == "__main__":
    main()
