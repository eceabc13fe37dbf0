"""The parts of a model around its decoder blocks."""

from torch import nn


class ModelParts:
    """The parts around the decoder's blocks, which a method's `finish` may change."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.body = getattr(model.base_model, "decoder", model.base_model)

    @property
    def embeddings(self) -> nn.Embedding:
        """The tokens' embeddings."""
        return self.model.get_input_embeddings()

    @property
    def positions(self) -> nn.Embedding | None:
        """Learned embeddings of positions; None where positions are rotary."""
        return getattr(self.body, "embed_positions", None)

    @property
    def projections(self) -> tuple[nn.Linear | None, nn.Linear | None]:
        """The linears from narrow embeddings into the residual stream and out of it, or None."""
        return getattr(self.body, "project_in", None), getattr(self.body, "project_out", None)

    @property
    def norm(self) -> nn.Module | None:
        """The final norm."""
        names = ("norm", "final_layer_norm")
        return next((getattr(self.body, name) for name in names if hasattr(self.body, name)), None)

    @property
    def head(self) -> nn.Linear:
        """The linear from the residual stream to the vocabulary."""
        return self.model.get_output_embeddings()

    @property
    def tied(self) -> bool:
        """True if the head and the embeddings share one weight."""
        return self.head.weight is self.embeddings.weight

    def tie(self) -> None:
        """Replaces the head's weight by that of the embeddings."""
        self.head._parameters["weight"] = self.embeddings.weight
        self.head.out_features, self.head.in_features = self.embeddings.weight.shape
