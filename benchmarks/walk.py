"""What does each method cost over the forward passes that none can avoid?

    python -m benchmarks.walk [--methods wanda@0.5 admm@0.5 ...] [--blocks 4] [--windows 16] ...

A random Llama (hidden 1024, intermediate 2816) in float32, 2 threads; with `--device cuda --dtype
bfloat16 --hidden 4096 --intermediate 11008 --blocks 1` a block of LLaMA-2-7B's shape. Each method
runs in a process of its own. Bare is the time of two forward passes of all windows through each
block (three where blocks are allocated their sparsity), weights in memory. Seconds depend on the
machine and its mood, so each walk stands between two bare passes and `passes` is its ratio to their
mean: the median of `--rounds`. `over` is the peak of memory over what was held before the walk.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.random_llama import make
from meltpoint import methods
from meltpoint.chain import Step, parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader, Writer
from meltpoint.compression.blockwise import walk
from meltpoint.compression.search import read_result, write_result
from meltpoint.compression.walk_job import Job
from meltpoint.compute import Compute
from meltpoint.errors import NotApplicable
from meltpoint.methods.contract import Context
from meltpoint.model import empty_model
from meltpoint.model.block_walk import Walk

STEPS = [
    *("magnitude@0.5", "wanda@0.5", "ria@0.5", "sparsegpt@0.5", "dsnot@0.5"),
    *("dsnot@0.5,init=sparsegpt", "wanda@0.5,allocation=owl", "sparsegpt@0.5,allocation=owl"),
    *("admm@0.5", "wanda@2of4", "ria@2of4", "sparsegpt@2of4", "dsnot@2of4", "admm@2of4"),
    *("besa@0.5,group=row", "besa@0.5,group=layer", "slicegpt@0.3"),
    *("flap@0.3", "wanda_sp@0.3", "llm_pruner@0.3"),
    *("svd@0.3", "svd_llm@0.3", "svd_llm@0.3,update=true"),
]


def one_pass(base: Path, windows: torch.Tensor, compute: Compute) -> float:
    """Seconds that the windows take through all blocks, weights in memory."""
    state = Walk(_reader(base, compute), windows, compute)
    seconds = 0.0
    with torch.no_grad():
        state.embed()
        for index in range(len(state.blocks)):
            names = state.names(index)
            empty_model.fill(state.model, state.reader.read(names))
            start = _now(compute)
            state.advance(index)
            seconds += _now(compute) - start
            empty_model.empty(state.model, names)
    return seconds


def whole(step: Step, base: Path, windows: torch.Tensor, compute: Compute) -> float:
    """Seconds of a step as its jobs take it: its search, if it has one, and its walk."""
    method = methods.find(step.method)
    settings, count = method.settings(step), Description.read(base).dense_parameters
    with tempfile.TemporaryDirectory() as scratch:
        writer, start = Writer(Path(scratch)), _now(compute)
        job = Job(method, settings, parameters=(count, count))
        if method.has_search:
            result = Path(scratch, f"search.{method.facts.search_format}")
            write_result(result, method.module.search(base, settings, Context(windows, compute)))
            job = replace(job, search=read_result(result))
        seen = windows if method.calibrated(step) else None
        walk(_reader(base, compute), writer, job, step.level, seen, compute)
        return _now(compute) - start


def measure(text: str, base: Path, options) -> dict:
    """Seconds, passes and memory of one step, medians of the rounds."""
    step = parse_step(text)
    compute = Compute(device=options.device, dtype=options.dtype, threads=options.threads)
    compute.start()
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(0, 512, (options.windows, options.length), generator=generator)
    needed = 3 if ",allocation=" in text else 2
    before, rounds = one_pass(base, windows, compute), []
    for _ in range(options.rounds):
        held = _reset_peak(compute)
        seconds = whole(step, base, windows, compute)
        over = _peak(compute) - held
        after = one_pass(base, windows, compute)
        bare = needed * (before + after) / 2
        rounds.append({"passes": seconds / bare, "seconds": seconds, "bare": bare, "over": over})
        before = after
    return {key: statistics.median(found[key] for found in rounds) for key in rounds[0]}


def _reader(base: Path, compute: Compute) -> Reader:
    return Reader(base, compute.torch_dtype, compute.torch_device)


def _now(compute: Compute) -> float:
    if compute.torch_device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _reset_peak(compute: Compute) -> float:
    """Forgets the peak of memory so far; returns what is held, in MiB."""
    if compute.torch_device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(compute: Compute) -> float:
    if compute.torch_device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return _status("VmHWM")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=STEPS)
    for name, value in (
        ("blocks", 4),
        ("windows", 16),
        ("length", 512),
        ("threads", 2),
        ("rounds", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--intermediate", type=int, default=2816)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--base", type=Path, help="used by itself for each method's process")
    options = parser.parse_args()
    if options.base:
        print(json.dumps(measure(options.methods[0], options.base, options)))
        return
    print(f"{'step':32} {'s':>7} {'bare s':>7} {'passes':>7} {'over, MiB':>10}")
    with tempfile.TemporaryDirectory() as scratch:
        base = make(Path(scratch, "base"), options.blocks, options.hidden, options.intermediate)
        for step in options.methods:
            command = [sys.executable, "-m", "benchmarks.walk", *sys.argv[1:]]
            command += ["--methods", step, "--base", str(base)]
            result = subprocess.run(command, capture_output=True, text=True)
            print(_line(step, result), flush=True)


def _line(step: str, result: subprocess.CompletedProcess) -> str:
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        reason = lines[-1].removeprefix(f"{NotApplicable.__module__}.")
        return f"{step:32} {reason}"
    found = json.loads(result.stdout.splitlines()[-1])
    return (
        f"{step:32} {found['seconds']:7.2f} {found['bare']:7.2f} {found['passes']:7.2f} "
        f"{found['over']:10.0f}"
    )


if __name__ == "__main__":
    main()
