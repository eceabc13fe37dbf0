"""The demo model's training settings, all numbers on which the trained model depends."""

from pydantic import BaseModel, Field, model_validator

# Quantizers share a scale among 128 input weights of a row; GGUF's k-quants pack 256 into a block.
GROUP = 128


class TrainingSettings(BaseModel, extra="forbid"):
    """A Llama (Touvron et al. 2023) small enough for minutes on 2 cores, and its training.

    Same settings, same Python, same machine: same bytes.
    """

    seed: int = Field(0, ge=0, description="Seed of the initial weights and of the windows' order.")
    threads: int = Field(2, ge=1, description="Threads that train, however many cores there are.")

    vocabulary: int = Field(4096, ge=257, description="Tokens of the byte-level BPE.")
    hidden: int = Field(
        256,
        ge=GROUP,
        description="Width of the hidden state: a multiple of 128; GGUF's k-quants need one of 256.",
    )
    intermediate: int = Field(
        512,
        ge=GROUP,
        description="Width of the MLP: a multiple of 128; GGUF's k-quants need one of 256.",
    )
    tied: bool = Field(True, description="The head is the embedding.")
    layers: int = Field(2, ge=1, description="Number of decoder blocks.")
    heads: int = Field(8, ge=1, description="Query heads; each is hidden / heads wide.")
    kv_heads: int = Field(4, ge=1, description="Key and value heads, shared by the query heads.")
    context: int = Field(256, ge=2, description="Longest window the model declares, in tokens.")

    length: int = Field(128, ge=2, description="Window of a training step, in tokens.")
    batch: int = Field(16, ge=1, description="Windows of a training step.")
    grown: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Fraction of the training steps, at the end, that use windows of `context` tokens "
        "(with proportionally fewer windows per batch).",
    )
    steps: int = Field(1050, ge=1, description="Training steps; the rates fall linearly to 0.")
    matrix_rate: float = Field(0.04, gt=0, description="Muon's learning rate: the blocks' linears.")
    other_rate: float = Field(0.01, gt=0, description="AdamW's: the embedding, head and norms.")
    momentum: float = Field(0.95, ge=0, lt=1, description="Momentum of the Muon optimiser.")
    weight_decay: float = Field(0.2, ge=0, description="Decoupled, of the blocks' linears.")
    dropout: float = Field(0.15, ge=0, lt=1, description="Of what embedding and blocks add.")

    @model_validator(mode="after")
    def _fits(self) -> "TrainingSettings":
        for name in ("hidden", "intermediate"):
            if getattr(self, name) % GROUP:
                raise ValueError(
                    f"{name} {getattr(self, name)} is not a multiple of {GROUP}, "
                    "which groups of a quantizer need."
                )
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden {self.hidden} does not split into {self.heads} heads of an even width."
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads are not a multiple of {self.kv_heads} kv_heads.")
        return self

    def parameters(self) -> int:
        """Number of the model's weights."""
        attention = 2 * self.hidden**2 * (1 + self.kv_heads / self.heads)
        block = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return int(embeddings + self.layers * block + self.hidden)
