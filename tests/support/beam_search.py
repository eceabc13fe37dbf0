"""Beam search over an engine's step loop, for tests."""


def beam_search(engine, prompt: list[int], width: int, steps: int) -> list[int]:
    """The tokens with the largest sum of log probabilities that a beam of this width finds."""
    texts, sums = [[]], None
    with engine.decoding([prompt], steps, rows=width) as decoding:
        for step in range(steps):
            scores = decoding.logits.double().log_softmax(dim=-1)
            if sums is not None:
                scores = scores + sums[:, None]
            sums, places = scores.flatten().topk(width)
            rows = (places // scores.shape[1]).tolist()
            tokens = (places % scores.shape[1]).tolist()
            texts = [[*texts[row], token] for row, token in zip(rows, tokens, strict=True)]
            if step < steps - 1:
                decoding.select(rows)
                decoding.append(tokens)
    return texts[0]
