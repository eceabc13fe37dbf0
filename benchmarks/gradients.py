"""What do gradients block by block cost, and does their memory grow with depth?

    python -m benchmarks.gradients [--blocks 4] [--windows 8] [--length 512] [--rounds 3]

A random Llama (hidden 1024, intermediate 2816) in float32, one thread. Cost is the CPU time of a walk
backwards, reading the weights twice included, over that of one bare forward pass through the blocks,
weights in memory: the median of the rounds, each of which stands between two bare passes. Memory is the
peak of a process of its own, at so many blocks and at twice as many, with the hidden states at the
borders in files: what is left are weights, accumulators and gradients, and the growth should be less
than one block's weights.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.random_llama import make
from meltpoint.checkpoints.io import Reader
from meltpoint.compute import Compute, return_memory
from meltpoint.model import empty_model
from meltpoint.model.backward_walk import walk_backwards
from meltpoint.model.block_walk import Walk
from meltpoint.model.gradient_statistics import GRADIENT_ACCUMULATORS


def walk(base: Path, windows: torch.Tensor, compute: Compute, names: tuple, borders: Path) -> float:
    """Seconds of a walk backwards with the named accumulators, hidden states in files."""
    reader = Reader(base, compute.torch_dtype, compute.torch_device)
    accumulators = {name: GRADIENT_ACCUMULATORS[name] for name in names}
    start = time.process_time()
    for _ in walk_backwards(reader, windows, compute, accumulators, borders):
        pass
    return time.process_time() - start


@torch.no_grad()
def bare_pass(base: Path, windows: torch.Tensor, compute: Compute) -> float:
    """Seconds that the windows take through all blocks, weights in memory."""
    state = Walk(Reader(base, compute.torch_dtype, compute.torch_device), windows, compute)
    state.embed()
    seconds = 0.0
    for index in range(len(state.blocks)):
        names = state.names(index)
        empty_model.fill(state.model, state.reader.read(names))
        start = time.process_time()
        state.advance(index)
        seconds += time.process_time() - start
        empty_model.empty(state.model, names)
    return seconds


def draw(options: argparse.Namespace) -> torch.Tensor:
    """Random windows [windows, length]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 512, (options.windows, options.length), generator=generator)


def passes(base: Path, options: argparse.Namespace, names: tuple, borders: Path) -> float:
    """Bare passes that a walk takes: the median of the rounds."""
    compute, windows, ratios = Compute(device="cpu", threads=1), draw(options), []
    for _ in range(options.rounds):
        before = bare_pass(base, windows, compute)
        seconds = walk(base, windows, compute, names, borders)
        after = bare_pass(base, windows, compute)
        ratios.append(2 * seconds / (before + after))
    return statistics.median(ratios)


def peak(base: Path, options: argparse.Namespace) -> float:
    """Peak memory in MiB of a process that walks backwards."""
    sizes = ["--windows", str(options.windows), "--length", str(options.length)]
    command = [sys.executable, "-m", "benchmarks.gradients", "--measure", str(base), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main(options: argparse.Namespace) -> None:
    """Prints cost and memory, or measures one process's memory."""
    Compute(device="cpu", threads=1).start()
    with tempfile.TemporaryDirectory() as scratch:
        borders = Path(scratch, "borders")
        borders.mkdir()
        if options.measure:
            return_memory()
            names = tuple(GRADIENT_ACCUMULATORS)
            walk(options.measure, draw(options), Compute(device="cpu", threads=1), names, borders)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return
        depths = (options.blocks, 2 * options.blocks)
        folders = [make(Path(scratch, str(depth)), depth) for depth in depths]
        for names in (("gradient",), tuple(GRADIENT_ACCUMULATORS)):
            count = passes(folders[0], options, names, borders)
            print(f"{' and '.join(names):30} {count:.2f} bare passes")
        block = (4 * 1024**2 + 3 * 1024 * 2816) * 4 / 2**20
        peaks = [peak(folder, options) for folder in folders]
        growth = peaks[1] - peaks[0]
        verdict = "less" if growth < block else "NOT LESS"
        print(
            f"peak at {depths[0]} blocks {peaks[0]:.0f} MiB, at {depths[1]} {peaks[1]:.0f} MiB: "
            f"grows by {growth:.0f} MiB, {verdict} than a block ({block:.0f})"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", type=Path)
    main(parser.parse_args())
