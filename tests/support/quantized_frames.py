"""Frames of quantised models, with perplexity, size and speed of each chain, and their figures."""

import numpy as np
import pandas as pd

from meltpoint import evaluations, figures
from meltpoint.analysis.frame import COLUMNS, columns_of, read_published
from meltpoint.chain import methods_of, parse_chain

# The main score of each evaluation: its kind, settings, and the score's name.
SCORES = {
    "ppl": ("perplexity", {"perplexity": "c", "window": 8}, "perplexity"),
    "llama": ("perplexity", {"perplexity": "c", "window": 8, "scoring": "llama.cpp"}, "perplexity"),
    "bits": ("size", {"size": "weights"}, "bits_per_weight"),
    "bytes": ("size", {"size": "weights", "main": "bytes"}, "bytes"),
    "speed": ("speed", {"speed": "generation"}, "generated_tokens_per_second"),
}
ABSENT = {"status": "not_applicable", "reason": "no 2-bit kernel", "value": np.nan}
LADDER = ("2bit", "3bit", "4bit", "8bit")
SCHEMES = {"q8_0": 8.5, "q6_k": 6.56, "q4_k_m": 4.83, "q4_k_s": 4.57, "q3_k_m": 3.89, "q2_k": 3.35}


def score_of(evaluation):
    """What the main score of an evaluation is, as columns."""
    kind, settings, name = SCORES[evaluation]
    kind = evaluations.find(kind)
    return columns_of(kind.scores(kind.settings_class(**settings))[name], name)


def cell(model, chain, evaluation, value, **changes):
    """One row of a frame."""
    steps = parse_chain(chain)
    row = dict.fromkeys(COLUMNS, "") | {
        **{"model": model, "chain": chain, "evaluation": evaluation, "value": value},
        **score_of(evaluation),
        **{"status": "ok", "source": "measured"},
        **{"method": methods_of(steps) or "dense", "kind": "quantization" if steps else ""},
        **{"level": "+".join(str(s.level) for s in steps if s.level is not None)},
        **{"stderr": 0.01 * value if SCORES[evaluation][0] == "perplexity" else np.nan},
        "difference": np.nan,
        **dict.fromkeys(("difference_stderr", "requested", "achieved"), np.nan),
    }
    return row | changes


def measured(model, chain, bits, ppl, weights=1e6):
    """The cells of one chain, from its bits per weight and its perplexity."""
    values = {"ppl": ppl, "llama": 1.1 * ppl, "bits": bits, "bytes": bits * weights / 8}
    values |= {"speed": 400 / bits}
    return [cell(model, chain, evaluation, value) for evaluation, value in values.items()]


def absent(frame, chain, model="m"):
    """The frame with a chain that does not apply to a model."""
    frame = frame.copy()
    gone = (frame["chain"] == chain) & (frame["model"] == model)
    assert gone.any()
    frame.loc[gone, list(ABSENT)] = list(ABSENT.values())
    return frame


def perplexity_at(bits, dense=5.5):
    return dense * (1 + 40 * np.exp(-1.7 * bits))


def quantized(models=("m",), methods=("gptq", "rtn"), schemes=False):
    """Dense, some methods at four bit widths or at six schemes, and a method without levels."""
    rows = []
    for place, model in enumerate(models):
        rows += measured(model, "dense", 16.0, 5.5 + place)
        for shift, method in enumerate(methods):
            ladder = SCHEMES if schemes else {x: int(x[0]) + 0.25 for x in LADDER}
            for level, bits in ladder.items():
                ppl = perplexity_at(bits - 0.3 * shift, 5.5 + place)
                rows += measured(model, f"{method}@{level}", bits, ppl)
        if not schemes:
            rows += measured(model, "nf4", 4.5, 5.7 + place)
    return pd.DataFrame(rows)


def combined(margins=True, models=("m",), prune="sparsegpt", quantize="gptq"):
    """Pruning at three sparsities and then quantization at three bit widths, with the margins."""
    rows = []
    for model in models:
        for sparsity in (0.0, 0.3, 0.5, 0.7):
            for bits in (16, 8, 4, 3):
                steps = [*([f"{prune}@{sparsity:g}"] if sparsity else [])]
                steps += [f"{quantize}@{bits}bit"] if bits < 16 else []
                if len(steps) == 2 or margins or not steps:
                    ppl = perplexity_at(bits) * np.exp(6 * sparsity**4)
                    rows += measured(
                        model, "+".join(steps) or "dense", bits * (1 - sparsity / 2), ppl
                    )
    frame = pd.DataFrame(rows)
    pruned = frame["chain"].str.startswith(prune) & ~frame["chain"].str.contains(r"\+")
    return frame.assign(kind=frame["kind"].where(~pruned, "unstructured"))


def draw(frame, kind, **changes):
    """The figure of a frame, with what is published beside it."""
    spec = figures.parse({"source": "x", "value": "ppl", "kind": kind} | changes)
    if published := getattr(spec, "published", None):
        frame = pd.concat([frame, read_published(published, "ppl")], ignore_index=True)
    return figures.draw(frame, None, spec)


def texts(figure):
    """What the legend says."""
    return [text.get_text() for text in figure.legends[0].get_texts()]
