"""Work of a job: operations of matrix products, and elements of all other arithmetic.

An element is one number of a product of two tensors. It is the unit in which norms, rotations,
activation functions, softmax, and what a step does with each weight are counted. How many elements
each of them takes was fitted to the finished jobs of two models, of widths 256 and 576 (docs/log.md).
"""

from dataclasses import dataclass

from meltpoint.workflow.model_sizes import ModelSize

# Operations for each parameter and token of a pass, and of a pass with its gradients' as a multiple.
PASS, GRADIENT_PASSES = 2, 4
TRAINING = 3 * PASS
# Elements for each token: of a block by the model's width and its MLP's, of the head by the vocabulary.
OF_WIDTH, OF_NEURONS, OF_VOCABULARY = 40, 10, 3
# Elements for each weight: read and checked, or also sorted, changed and counted by a step.
READ, COMPRESSED = 6, 70


@dataclass(frozen=True)
class Work:
    """Operations of matrix products, and elements of all other arithmetic."""

    operations: float = 0.0
    elements: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.operations + other.operations, self.elements + other.elements)

    def __mul__(self, times: float) -> "Work":
        return Work(self.operations * times, self.elements * times)


def blocks(size: ModelSize, tokens: float, length: float = 0.0) -> Work:
    """Work of a pass of tokens through a model's blocks, in texts of `length` tokens."""
    width, neurons, count = size.width or 0, size.neurons or 0, size.blocks or 0
    attention = 2 * PASS * length * width * count
    return Work(
        tokens * (PASS * size.decoder + attention),
        tokens * count * (OF_WIDTH * width + OF_NEURONS * neurons),
    )


def head(size: ModelSize, tokens: float) -> Work:
    """Work of the head on tokens, with the probabilities of the vocabulary."""
    width = size.width or 0
    return Work(PASS * tokens * size.vocabulary * width, OF_VOCABULARY * tokens * size.vocabulary)


def weights(size: ModelSize, elements: float) -> Work:
    """Work on each of a model's weights."""
    return Work(elements=elements * size.parameters)
