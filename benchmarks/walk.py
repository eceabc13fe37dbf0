"""What does the walk cost over the forward passes that it cannot avoid?

    python -m benchmarks.walk [blocks windows length]

A random Llama (hidden 1024, intermediate 2816) in float32, 2 threads. Any calibrated method needs
the windows to go through each block twice, but for the last block once: that is the bare time.
Ratios within one run are what counts; seconds depend on the machine and its mood.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.random_llama import make
from meltpoint import methods, skeleton
from meltpoint.blocks import Walk, walk
from meltpoint.chain import Sparsity
from meltpoint.checkpoint import Reader, Writer
from meltpoint.compute import Compute

CPU = torch.device("cpu")


def bare(base: Path, windows: torch.Tensor, compute: Compute) -> float:
    """Seconds of the forward passes alone, weights in memory."""
    state = Walk(Reader(base, torch.float32, CPU), windows, compute)
    with torch.no_grad():
        state.embed()
        seconds = 0.0
        for index in range(len(state.blocks)):
            names = state.names(index)
            skeleton.fill(state.model, state.reader.read(names))
            start = time.perf_counter()
            if index + 1 < len(state.blocks):
                for batch in state.batches():
                    state.forward(index, batch)
            state.advance(index)
            seconds += time.perf_counter() - start
            skeleton.empty(state.model, names)
    return seconds


def whole(method: str, base: Path, windows: torch.Tensor, compute: Compute) -> float:
    """Seconds of a method's walk, from opening the files to the last shard."""
    found = methods.find(method)
    with tempfile.TemporaryDirectory() as target:
        reader, writer = Reader(base, torch.float32, CPU), Writer(Path(target), 99)
        start = time.perf_counter()
        walk(reader, writer, found, Sparsity(0.5), found.settings_class(), windows, compute)
        return time.perf_counter() - start


def main(blocks: int = 4, count: int = 16, length: int = 512) -> None:
    compute = Compute(device="cpu", threads=2)
    compute.start()
    windows = torch.randint(0, 512, (count, length), generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as scratch:
        base = make(Path(scratch, "base"), blocks)
        bare(base, windows, compute)
        print(f"{blocks} blocks, {count} windows of {length}")
        for method in methods.registry():
            before, seconds = bare(base, windows, compute), whole(method, base, windows, compute)
            alone = (before + bare(base, windows, compute)) / 2
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{method:10}  {seconds:6.2f} s  {seconds / alone:5.2f} x the bare passes "
                f"({alone:.2f} s)  peak so far {peak:.2f} GiB"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
