"""Constants of the bill that `snakemake -n` prints, measured on this machine.

    python -m benchmarks.calibrate_cost [STUDY.yaml ...] [--ship]

Measures what a job takes to start, and the rates of matrix products, of products of elements and of
bytes of weights, on the CPU and on a GPU if there is one (half a minute). All other cores compute
meanwhile, as they do in a run: they share caches and memory, and cores may be threads of one core. The
finished jobs of the studies, by default of config.yaml, then say how far each rule is from its
arithmetic. Writes results/cost.json, or with --ship resources/cost.json, which counts where nothing was
measured.
"""

import argparse
import contextlib
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
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
# Operations and elements of a GPU in a second where there is none to measure: two fifths of what an
# A100's 16-bit units and its memory have on paper. An element is three times two bytes.
ASSUMED_GPU_RATE, ASSUMED_GPU_ELEMENTS = 1.2e14, 1.3e11
SIZE, ELEMENTS, SECONDS = 768, 2**20, 1.0
# What the other cores do meanwhile.
BUSY = f"""
import torch
torch.set_num_threads(1)
a = torch.randn({SIZE}, {SIZE})
while True:
    a @ a
"""


@contextlib.contextmanager
def other_cores_busy() -> Iterator[None]:
    """Keeps all cores but one at work."""
    count = len(os.sched_getaffinity(0)) - 1
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.wait()


def start_seconds() -> float:
    """CPU-seconds that a job takes to import what it needs; the least of three runs."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", JOB], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(seconds)


def rate(device: str, count: float, work: Callable[[], object]) -> float:
    """Rate of a thread or a GPU, in units per second, where one call of `work` does `count` units."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    for _ in range(3):
        work()
    done, start = 0, clock()
    while clock() - start < SECONDS:
        for _ in range(10):
            work()
        if device != "cpu":
            torch.cuda.synchronize()
        done += 10
    return done * count / (clock() - start)


def matrix_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """Floating point operations of matrix products in a second."""
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    return rate(device, 2 * size**3, lambda: a @ b)


def elements_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """Elements of products of two tensors in a second."""
    a, b = torch.randn(2, size, device=device, dtype=dtype)
    return rate(device, size, lambda: a * b)


def bytes_rate() -> float:
    """Bytes of float32 weights that a thread writes and hashes, and reads again, in a second."""
    weights = {"x": torch.randn(2**24)}
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder) / "x.safetensors", time.process_time()
        save_file(weights, path)
        sha256(path.read_bytes())
        load_file(path)["x"].clone()
        return 2 * 4 * 2**24 / (time.process_time() - start)


def finished(study_file: Path) -> list[tuple[JobCost, float]]:
    """Finished jobs of a study with their CPU-seconds."""
    study = Study(
        config.load(yaml.safe_load(study_file.read_text()), study_file.name), study_file.parent
    )
    results = f"results/{study.config.study}"
    jobs = JobCosts(study, ModelSizes(study), results).all()
    return measured(jobs, Path(results) / "benchmarks")


def measure(has_gpu: bool) -> Constants:
    """Constants of this machine, without its rules; assumed ones of a GPU where there is none."""
    gpu = ASSUMED_GPU_RATE, ASSUMED_GPU_ELEMENTS
    if has_gpu:
        gpu = (
            matrix_rate("cuda", torch.bfloat16, 8192),
            elements_rate("cuda", torch.bfloat16, 2**28),
        )
    rates = {
        "rate": matrix_rate("cpu", torch.float32, SIZE),
        "elements_rate": elements_rate("cpu", torch.float32, ELEMENTS),
        "bytes_rate": bytes_rate(),
        "gpu_rate": gpu[0],
        "gpu_elements_rate": gpu[1],
    }
    return Constants(
        start=round(start_seconds(), 2),
        **{name: float(f"{value:.3g}") for name, value in rates.items()},
        gpu_measured=has_gpu,
        source=f"{platform.machine()}, torch {torch.__version__}",
    )


def main() -> None:
    """Measures, learns and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("studies", nargs="*", type=Path, default=[Path("config.yaml")])
    parser.add_argument("--ship", action="store_true", help="write resources/cost.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with other_cores_busy():
        machine = measure(torch.cuda.is_available())
    jobs = [pair for file in arguments.studies for pair in finished(file)]
    rules = CostModel(machine, jobs).rules
    rounded = {
        name: {key: float(f"{value:.3g}") for key, value in rule.model_dump().items()}
        for name, rule in sorted(rules.items())
    }
    target = SHIPPED if arguments.ship else MEASURED
    write_json(target, {**machine.model_dump(), "rules": rounded})
    print(
        f"{target}: {machine.start} s to start; a thread does {machine.rate:.3g} operations of matrix "
        f"products in a second, {machine.elements_rate:.3g} elements, {machine.bytes_rate:.3g} bytes"
    )
    how = "measured" if machine.gpu_measured else "assumed"
    print(f"{machine.gpu_rate:.3g} operations of a GPU ({how}); {len(jobs)} finished jobs")


if __name__ == "__main__":
    main()
