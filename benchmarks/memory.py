"""Does the walk's memory grow with depth? Peak RSS of pruning at 24 and at 48 blocks.

    python -m benchmarks.memory [method ...]

Each run is a process of its own. The growth should be less than one block's weights.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

DEPTHS = (24, 48)
WINDOWS, LENGTH = 16, 128


def measure(method: str, folder: str) -> None:
    """Prunes the checkpoint by the method at 0.5 and prints the peak of the process's memory."""
    import numpy as np

    from meltpoint.compression.step import compress
    from meltpoint.compute import Compute
    from meltpoint.workflow.job_specs.documents import CompressSpec

    compute = Compute(device="cpu", threads=1)
    compute.start()
    windows = Path(folder, "windows.npy")
    np.save(windows, np.random.default_rng(0).integers(0, 512, (WINDOWS, LENGTH)))
    step, settings = f"{method}@0.5", {"calibration": "default", "windows": {"file": "windows.npy"}}
    spec = CompressSpec(
        chain=step, prefix="dense", step=step, settings=settings, dtype="float32", code="code"
    )
    compress(Path(folder), Path(folder + "-pruned"), spec, [windows], compute)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(methods: list[str]) -> None:
    from benchmarks.random_llama import make

    with tempfile.TemporaryDirectory() as scratch:
        folders = {depth: make(Path(scratch, str(depth)), depth) for depth in DEPTHS}
        shard = folders[24] / f"model-00002-of-{24 + 1:05d}.safetensors"
        block = shard.stat().st_size / 2**20
        print(f"one block: {block:.0f} MiB; windows: {WINDOWS} x {LENGTH}")
        for method in methods:
            peaks = [_peak(method, folders[depth]) for depth in DEPTHS]
            growth = peaks[1] - peaks[0]
            verdict = "less" if growth < block else "NOT LESS"
            print(
                f"{method:10}  peak at 24 blocks {peaks[0]:.0f} MiB, at 48 {peaks[1]:.0f} MiB: "
                f"grows by {growth:.0f} MiB, {verdict} than a block"
            )


def _peak(method: str, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", method, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(*sys.argv[2:])
    else:
        main(sys.argv[1:] or ["magnitude", "wanda", "sparsegpt"])
