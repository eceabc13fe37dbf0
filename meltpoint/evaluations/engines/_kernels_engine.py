"""A model of transformers whose linears a quantization library multiplies."""

from transformers import PreTrainedModel

from meltpoint.compute import Compute
from meltpoint.evaluations.engines._model_engine import ModelEngine


class KernelsEngine(ModelEngine):
    """Runs a model as its users do; `library` is the package of the kernels, None for torch's own."""

    def __init__(
        self, model: PreTrainedModel, compute: Compute, load_seconds: float, library: str | None
    ) -> None:
        super().__init__(model, compute, load_seconds)
        self.name = library or "transformers"

    @property
    def provenance(self) -> dict[str, str]:
        """Name of the program, and the classes of all modules with weights to multiply but the head."""
        head = self.model.get_output_embeddings()
        wide = (m for m in self.model.modules() if hasattr(m, "in_features") and m is not head)
        names = {type(module).__name__ for module in wide}
        return {"engine": self.name, "kernels": ", ".join(sorted(names))}
