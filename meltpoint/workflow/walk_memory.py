"""Memory of a step that works block by block: it does not grow with the number of blocks."""

from meltpoint.workflow.model_sizes import ModelSize

# Bytes for each weight of a block: it and its copy, float32 scores, sorted ones with places, masks.
# A method that learns masks holds parameters, gradients and moments in their place.
OF_BLOCK = 24
# Copies of what is outside the blocks: as it is read, and as it is written.
OUTSIDE = 3
# Buffers of hidden states: the walk's, those of the dense model, and new ones of another width.
HIDDEN = 3
# Bytes for each number of a sum of outer products: it, and its factor and inverse in float64.
OF_PRODUCTS = 28
# Tokens of a batch on the CPU at least, and float32 numbers that it holds for each of its tokens: in
# multiples of the model's width and its MLP's, and of the attention's scores.
BATCH_TOKENS, OF_WIDTH, OF_NEURONS, OF_SCORES = 2048, 8, 4, 2
FLOAT32 = 4


def walk_bytes(
    size: ModelSize, itemsize: int, windows: dict, *, outer_products: bool
) -> float | None:
    """Bytes that a walk holds at most, beside Python's; None for a model whose config is not known.

    itemsize: bytes of a weight in the study's dtype. windows: the calibration's settings, empty for a
    step without one. outer_products: whether the step sums outer products of inputs, or decomposes
    them. The parts are added up, though the walk holds what is outside the blocks before and after
    them: that is the margin.
    """
    width, neurons, blocks = size.width, size.neurons, size.blocks
    if not width or not neurons or not blocks or not size.config.get("vocab_size"):
        return None
    tokens, length = windows.get("samples", 0) * windows.get("length", 0), windows.get("length", 0)
    heads = size.heads or 0
    held = OF_BLOCK * size.decoder / blocks + OUTSIDE * itemsize * size.embeddings
    held += HIDDEN * itemsize * tokens * width
    if outer_products:
        held += OF_PRODUCTS * (width**2 + neurons**2)
    batch = OF_WIDTH * width + OF_NEURONS * neurons + OF_SCORES * heads * length
    return held + FLOAT32 * min(tokens, max(BATCH_TOKENS, length)) * batch
