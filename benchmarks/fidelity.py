"""Cost of fidelity scores: the time of a measurement with them over one without, and by arithmetic.

    python -m benchmarks.fidelity [demo] [smollm2-135m]

Models have random weights and the shapes of their names. The two measurements take turns in one
process, and the medians of their times are compared. By arithmetic a forward pass takes 2 P operations
a token, P the weights of blocks and head, and the dense head 2 V d more. The last number is what should
stay below 1.3.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# Vocabulary, width, width of the MLP, blocks, heads, key and value heads, window, windows.
SHAPES = {
    "demo": (4096, 256, 512, 2, 8, 4, 256, 24),
    "smollm2-135m": (49152, 576, 1536, 30, 9, 3, 512, 2),
}
RUNS = 5


def make(folder: Path, name: str) -> int:
    """Writes a random Llama; returns the number of weights of blocks and head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary, width, mlp, blocks, heads, kv_heads, window, _ = SHAPES[name]
    config = LlamaConfig(
        **{"vocab_size": vocabulary, "hidden_size": width, "intermediate_size": mlp},
        **{"num_hidden_layers": blocks, "num_attention_heads": heads},
        **{"num_key_value_heads": kv_heads, "max_position_embeddings": window},
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters() if p.ndim == 2)


def measure(name: str, folder: Path) -> None:
    """Prints the times of both measurements, their ratio and that of the arithmetic."""
    from meltpoint.compute import Compute
    from meltpoint.evaluations._divergence import Divergence, write_hidden
    from meltpoint.evaluations.engines import open_engine
    from meltpoint.model.head import Head

    vocabulary, width, *_, window, count = SHAPES[name]
    weights = make(folder / name, name)
    compute = Compute(device="cpu", threads=1)
    compute.start()
    windows = np.random.default_rng(0).integers(0, vocabulary, (count, window), dtype=np.int32)
    times: dict[bool, list[float]] = {False: [], True: []}
    with open_engine(folder / name, compute) as engine:
        write_hidden(folder / "hidden.npy", engine, windows)
        head = Head(folder / name, compute)
        for _ in range(RUNS):
            for compared, seconds in times.items():
                start = time.perf_counter()
                observer = Divergence(folder / "hidden.npy", head, windows, compute)
                engine.nll(windows, observer if compared else None)
                seconds.append(time.perf_counter() - start)
    plain, with_fidelity = (statistics.median(seconds) for seconds in times.values())
    extra, arithmetic = with_fidelity / plain - 1, vocabulary * width / weights
    print(
        f"{name}: {plain:.2f} s without, {with_fidelity:.2f} s with; {extra:.0%} more, by arithmetic "
        f"{arithmetic:.0%}: {extra / arithmetic:.2f} times that"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or SHAPES:
            measure(name, Path(folder))


if __name__ == "__main__":
    main()
