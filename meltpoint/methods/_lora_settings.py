"""Settings of fine-tuning, and the published presets."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from meltpoint.methods.settings import MethodSettings

# Number of tokens of the windows that run together, unless `micro_batch` is set.
TOKENS = 4096
PRESETS: dict[str, dict[str, Any]] = {
    # hf_prune's post_training.py by its script: AdamW, the response alone.
    "llm_pruner": {
        **{"rank": 8, "alpha": 16.0, "dropout": 0.05, "lr": 1e-4, "epochs": 2, "batch": 64},
        **{"micro_batch": 4, "length": 256, "warmup": 100, "schedule": "linear"},
        **{"validation": 2000, "every": 200},
    },
    # run_finetuning.py with the README's settings.
    "slicegpt": {
        **{"rank": 32, "alpha": 10.0, "dropout": 0.05, "lr": 2e-4, "epochs": 1, "batch": 3},
        **{"length": 1024, "samples": 8000, "warmup": 400, "schedule": "linear"},
        **{"weight_decay": 0.01, "beta2": 0.95, "validation": 128, "every": 16, "patience": 5},
    },
    # The defaults of LLaMA-Factory's web page.
    "llamafactory": {
        **{"rank": 8, "alpha": 16.0, "dropout": 0.0, "lr": 5e-5, "epochs": 3, "batch": 16},
        **{"micro_batch": 2, "length": 2048, "warmup": 0, "schedule": "cosine"},
    },
}


class Settings(MethodSettings):
    """What is learned, from which text, and how. A preset changes the defaults of the others."""

    preset: Literal["", "llm_pruner", "slicegpt", "llamafactory"] = Field(
        "", description="Published settings, which the other settings override."
    )
    data: str | None = Field(
        None,
        description="Corpus of the study to learn: plain text, or a set of instructions. Default: the "
        "text of the calibration `default`.",
    )
    samples: int | None = Field(
        None, ge=1, description="Number of windows or records to learn, the first. Default: all."
    )
    rank: int = Field(
        8, ge=0, description="Rank of the adapters. 0: the weights themselves are trained."
    )
    alpha: float = Field(
        16.0, gt=0, description="Scale of the adapters: their product counts alpha / rank times."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the adapters' inputs.")
    targets: str = Field(
        "all",
        description="Linears of the decoder to train, by the last part of their names joined by `-`, "
        "as in `q_proj-v_proj`. `all`: every one.",
    )
    lr: float = Field(5e-4, gt=0, description="Peak learning rate of AdamW.")
    epochs: float | None = Field(
        None, gt=0, description="Passes through the text, in the place of `steps`."
    )
    steps: int | None = Field(100, ge=1, description="Number of steps of the optimiser.")
    batch: int = Field(16, ge=1, description="Windows of a step.")
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="Windows that run together: a divisor of `batch`. Default: the largest that holds "
        "4096 tokens.",
    )
    length: int = Field(
        256, ge=2, description="Tokens of a window; records are cut at this length."
    )
    warmup: int = Field(0, ge=0, description="Steps in which the learning rate rises to its peak.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="Course of the learning rate behind its peak; two of them fall to 0."
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    beta2: float = Field(0.999, gt=0, lt=1, description="Second moment's decay of AdamW.")
    seed: int = Field(
        0, ge=0, description="Seed of the adapters, of the windows' order and of dropout."
    )
    validation: float | str | None = Field(
        None,
        description="Text whose loss chooses the best of the saved states: a share of the windows "
        "(0.1), a number of them (2000), or another corpus. Default: none; the last state is kept.",
    )
    every: int | None = Field(
        None,
        ge=1,
        description="Steps between two states that are saved and validated. Default: a tenth of all.",
    )
    patience: int = Field(
        0,
        ge=0,
        description="Validations without a better loss after which training ends early. 0: never.",
    )
    keep_zeros: bool = Field(
        True, description="Whether weights that earlier steps pruned stay zero."
    )
    merge: bool = Field(
        True,
        description="Whether the adapter is added to the weights. false: it is kept beside a quantised "
        "base.",
    )
    checkpointing: bool = Field(
        False,
        description="Whether the backward pass computes activations again, for less memory.",
    )
    bfloat16: bool = Field(
        False, description="Whether the model runs in bfloat16; what is trained stays in float32."
    )

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in values.items() if value is not None}
        if {"epochs", "steps"} <= given.keys():
            raise ValueError("give epochs or steps, not both: each says how long training lasts")
        defaults = PRESETS.get(values.get("preset", ""), {})
        if "epochs" in given or ("epochs" in defaults and "steps" not in given):
            defaults = {**defaults, "steps": None}
        if "steps" in given:
            defaults = {key: value for key, value in defaults.items() if key != "epochs"}
        return {**defaults, **values}

    @field_validator("validation", mode="before")
    @classmethod
    def _is_a_share_a_number_or_a_corpus(cls, value: Any) -> Any:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return value
        if number <= 0 or (number >= 1 and number != int(number)):
            raise ValueError(
                f"{value} is no share of the windows between 0 and 1 and no number of them: leave it "
                "out to train without validation"
            )
        return number

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if not self.merge and not self.rank:
            raise ValueError("merge=false keeps an adapter, and rank=0 trains without one")
        if self.micro_batch and self.batch % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide the batch of {self.batch} windows"
            )
        if self.patience and self.validation is None:
            raise ValueError("patience counts validations: name the text with validation too")
        return self

    @property
    def training_data(self) -> dict[str, str | None]:
        """Names of the corpora of training, and of validation if that has a text of its own."""
        named = {"validation": self.validation} if isinstance(self.validation, str) else {}
        return {"data": self.data, **named}

    @property
    def needs_grid(self) -> bool:
        """True if the adapter is kept beside a quantised base."""
        return not self.merge

    def trained_tokens(self, text_tokens: float) -> float:
        """Number of tokens of all steps, padding included, for a text of `text_tokens` tokens."""
        if self.steps is not None:
            return self.steps * self.batch * self.length
        windows = text_tokens / self.length
        return self.epochs * self.length * min(windows, self.samples or windows)

    @property
    def windows_at_once(self) -> int:
        """Number of windows of a forward pass, a divisor of the batch."""
        most = self.micro_batch or max(1, TOKENS // self.length)
        return max(size for size in range(1, min(most, self.batch) + 1) if self.batch % size == 0)

    def defaults(self) -> Mapping[str, Any]:
        """Values of the settings that a step need not spell beside its `preset`."""
        return {**dict(type(self)(preset=self.preset)), "preset": ""}

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: those of adapters if there are no adapters."""
        return set() if self.rank else {"alpha", "dropout"}
