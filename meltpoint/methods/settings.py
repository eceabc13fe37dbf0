"""Base classes of the settings of methods."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator


class MethodSettings(BaseModel):
    """Settings of a method; a step overrides them by name, all values are numbers or words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def calibrated(self) -> bool:
        """True for settings with which a step or search reads the calibration."""
        return False

    @property
    def validation_calibration(self) -> str | None:
        """Name of a second calibration, for `Context.validation`; None for a method that has none."""
        return None

    @property
    def training_data(self) -> dict[str, str | None]:
        """Names of training corpora by their use, "data" or "validation"; empty for most methods.

        None stands for the corpus of the study's calibration `default`.
        """
        return {}

    @property
    def needs_grid(self) -> bool:
        """True for a step that needs weights on a quantization grid."""
        return False

    def trained_tokens(self, text_tokens: float) -> float:
        """Number of tokens of all training steps, for a text of `text_tokens`; 0 for most methods."""
        return 0.0

    def unused_settings(self) -> set[str]:
        """Names of settings without effect beside the others, which a step's spelling leaves out."""
        return set()

    def defaults(self) -> dict[str, Any]:
        """Values of the settings that a step need not spell."""
        return dict(type(self)())


class CalibratedSettings(MethodSettings):
    """Settings of a method that looks at text: which calibration, and what to change in it."""

    calibration: str = Field("default", description="Name of the study's calibration to use.")
    samples: int | None = Field(
        None, ge=1, description="Number of windows. Default: the calibration's own."
    )
    length: int | None = Field(
        None, ge=2, description="Number of tokens of a window. Default: the calibration's own."
    )
    seed: int | None = Field(
        None, ge=0, description="Seed of the random draw. Default: the calibration's own."
    )

    @property
    def calibrated(self) -> bool:
        """True: the method reads the calibration."""
        return True


class AllocatedSettings(CalibratedSettings):
    """Settings of a method whose sparsity may differ from block to block."""

    allocation: Literal["uniform", "owl"] = Field(
        "uniform",
        description="Sparsity of the blocks. `owl`: blocks with more outliers are pruned less (see "
        "[allocation](#allocation)); for N:M without effect, as in its official code.",
    )
    lambda_: float = Field(
        0.08, ge=0, lt=0.5, description="With owl: the blocks' sparsities span at most twice this."
    )
    outlier_ratio: float = Field(
        5,
        gt=0,
        description="With owl: an outlier is this many times the mean of its block's metric.",
    )

    def unused_settings(self) -> set[str]:
        """Names of settings without effect: those of OWL with another allocation."""
        return set() if self.allocation == "owl" else {"lambda_", "outlier_ratio"}


class OfficialSettings(MethodSettings):
    """Settings of a method whose official code has quirks that change numbers.

    Each quirk is a setting of its own. `official_defaults` are the settings with which the method
    computes what the official code does.
    """

    official_defaults: ClassVar[dict[str, Any]] = {}

    official: bool = Field(
        False,
        description="Whether the other settings have the official code's quirks for their defaults.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_official_defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        official = TypeAdapter(bool).validate_python(values.get("official", False))
        return {**cls.official_defaults, **values} if official else values

    def defaults(self) -> dict[str, Any]:
        """Values of the settings that a step need not spell beside its `official`."""
        return {**dict(type(self)(official=self.official)), "official": False}


class ShapeSettings(MethodSettings):
    """Settings of a method that changes shapes."""

    of: Literal["nominal", "parameters"] = Field(
        "nominal",
        description="What the level is a fraction of: what the official code counts, or the "
        "parameters of the dense decoder that are gone after the step.",
    )


class ExpandableSettings(MethodSettings):
    """Settings of a method that scores or cuts attention heads."""

    expand_kv: bool = Field(
        False,
        description="Whether each query head first gets key and value heads of its own: the same "
        "logits, more parameters.",
    )
