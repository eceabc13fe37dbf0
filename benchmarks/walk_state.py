"""Cost of keeping the state of a walk, from which a killed one goes on.

    python -m benchmarks.walk_state [--steps wanda@0.5 ...] [--blocks 4] [--windows 16] ...

A random Llama (hidden 1024, intermediate 2816) in float32. Each step is taken without states, with
those that a long walk saves (at most a twentieth of its time), and with one behind every block.
Rounds alternate between the three, and CPU-seconds are medians. `state` is the file's size.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.random_llama import make
from meltpoint import methods
from meltpoint.chain import Step, parse_step
from meltpoint.checkpoints.description import Description
from meltpoint.checkpoints.io import Reader, Writer
from meltpoint.compression import walk_state
from meltpoint.compression.blockwise import walk
from meltpoint.compression.walk_job import Job
from meltpoint.compute import Compute

SHARES = {"none": None, "usual": walk_state.SHARE, "every block": float("inf")}


def seconds(step: Step, base: Path, windows: torch.Tensor, share: float | None) -> tuple:
    """CPU-seconds of a walk, the number of its states and the bytes of the last one."""
    method, compute = methods.find(step.method), Compute(device="cpu", resume=True)
    count, sizes = Description.read(base).dense_parameters, []
    walk_state.SHARE, save = share, walk_state.WalkStates._save

    def counted(states: walk_state.WalkStates, *arguments: object) -> None:
        save(states, *arguments)
        sizes.append((states.folder / walk_state.STATE).stat().st_size)

    with tempfile.TemporaryDirectory(dir=base.parent) as scratch:
        states = None if share is None else walk_state.WalkStates(Path(scratch, "s"), compute, {})
        walk_state.WalkStates._save = counted
        writer, start = Writer(Path(scratch)), time.process_time()
        job = Job(method, method.settings(step), parameters=(count, count))
        reader = Reader(base, torch.float32, torch.device("cpu"))
        walk(reader, writer, job, step.level, windows, compute, states)
        writer.finish()
        walk_state.WalkStates._save = save
        return time.process_time() - start, len(sizes), max(sizes, default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--steps", nargs="+", default=["wanda@0.5", "sparsegpt@0.5", "slicegpt@0.3"]
    )
    defaults = {
        "blocks": 6,
        "windows": 32,
        "length": 512,
        "hidden": 1024,
        "rounds": 3,
        "threads": 1,
    }
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(0, 512, (options.windows, options.length), generator=generator)
    print(f"{'step':16} {'states':12} {'CPU-s':>7} {'saved':>6} {'state, MB':>10}")
    with tempfile.TemporaryDirectory() as place:
        base = make(Path(place, "base"), options.blocks, options.hidden)
        for step in map(parse_step, options.steps):
            rounds = [
                {name: seconds(step, base, windows, share) for name, share in SHARES.items()}
                for _ in range(options.rounds)
            ]
            for name in SHARES:
                taken = statistics.median(found[name][0] for found in rounds)
                _, saved, size = rounds[-1][name]
                print(
                    f"{step!s:16} {name:12} {taken:7.2f} {saved:6} {size / 1e6:10.1f}", flush=True
                )


if __name__ == "__main__":
    main()
