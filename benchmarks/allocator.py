"""CPU time of the program and of the kernel for batches, with freed memory kept and as glibc has it.

    python -m benchmarks.allocator CHECKPOINT [WINDOWS] [LENGTH]

A batch is a forward pass of WINDOWS x LENGTH tokens (16 x 256) and its losses, on one thread. Each way
runs in a process of its own, twice in turn.
"""

import resource
import subprocess
import sys

BATCHES = 6


def measure(keep: bool, checkpoint: str, windows: int, length: int) -> None:
    """Prints the seconds of the program and of the kernel, and the peak memory in MB."""
    import torch
    from transformers import AutoModelForCausalLM

    from meltpoint.compute import keep_memory

    if keep:
        keep_memory()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, local_files_only=True)
    tokens = torch.randint(0, model.config.vocab_size, (windows, length))
    used = []
    for _ in range(1 + BATCHES):
        with torch.inference_mode():
            logits = model(tokens, use_cache=False).logits
            torch.nn.functional.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")
        used.append(resource.getrusage(resource.RUSAGE_SELF))
    first, last = used[0], used[-1]
    program, kernel = last.ru_utime - first.ru_utime, last.ru_stime - first.ru_stime
    print(f"{program:.2f} + {kernel:.2f} s, peak {last.ru_maxrss / 1024:.0f} MB")


def main(checkpoint: str, windows: str = "16", length: str = "256") -> None:
    """Prints a line for each run."""
    for way in ("as it is", "kept") * 2:
        command = [sys.executable, "-m", "benchmarks.allocator", "--measure", way]
        command += [checkpoint, windows, length]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{way:8}  {done.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(sys.argv[2] == "kept", sys.argv[3], *map(int, sys.argv[4:]))
    else:
        main(*sys.argv[1:])
