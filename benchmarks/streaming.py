"""Does the memory of a streamed evaluation grow with depth? Peak RSS at 24 and at 48 blocks.

    python -m benchmarks.streaming

Each run is a process of its own, which evaluates perplexity whole or streamed. The growth of the
streamed runs should be less than one block's weights.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

DEPTHS = (24, 48)
WINDOWS, LENGTH = 16, 128


def measure(folder: str, stream: str) -> None:
    """Evaluates the checkpoint and prints the process's memory before and at its peak, and a loss."""
    import numpy as np
    import torch

    from meltpoint.compute import Compute
    from meltpoint.evaluations.engines import (
        _streamed,  # noqa: F401  (its imports are no part of it)
        open_engine,
    )

    compute = Compute(device="cpu", threads=1, stream=stream == "true")
    compute.start()
    torch.ones(512, 512) @ torch.ones(512, 512)
    windows = np.random.default_rng(0).integers(0, 512, (WINDOWS, LENGTH))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with open_engine(Path(folder), compute) as engine:
        loss = engine.nll(windows).mean(dtype=np.float64)
    print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, loss)


def main() -> None:
    from benchmarks.random_llama import make

    with tempfile.TemporaryDirectory() as scratch:
        folders = {depth: make(Path(scratch, str(depth)), depth) for depth in DEPTHS}
        shard = folders[24] / f"model-00002-of-{24 + 1:05d}.safetensors"
        block = shard.stat().st_size / 2**20
        hidden = WINDOWS * LENGTH * 1024 * 4 / 2**20
        print(f"one block: {block:.0f} MiB; hidden states: {hidden:.0f} MiB; head: 2 MiB")
        for stream in ("false", "true"):
            runs = [_run(folders[depth], stream) for depth in DEPTHS]
            for depth, (before, peak, loss) in zip(DEPTHS, runs, strict=True):
                print(
                    f"stream: {stream:5}  {depth} blocks: peak {peak:.0f} MiB, {peak - before:.0f} MiB "
                    f"over the imports; mean loss {loss:.7f}"
                )
            print(f"stream: {stream:5}  grows by {runs[1][1] - runs[0][1]:.0f} MiB")


def _run(folder: Path, stream: str) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "benchmarks.streaming", "--measure", str(folder), stream]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, peak, loss = map(float, done.stdout.split()[-3:])
    return before, peak, loss


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(*sys.argv[2:])
    else:
        main()
