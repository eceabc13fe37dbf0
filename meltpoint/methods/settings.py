"""What the settings of all methods have in common."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MethodSettings(BaseModel):
    """Settings of a method; a step overrides them by name, all values are numbers or words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def calibrated(self) -> bool:
        """Whether the method looks at text."""
        return False

    def unused_settings(self) -> set[str]:
        """The settings that have no effect beside the others: a step is spelled without them."""
        return set()


class CalibratedSettings(MethodSettings):
    """Settings of a method that looks at text: which calibration, and what to change in it."""

    calibration: str = Field("default", description="the study's calibration that is used")
    samples: int | None = Field(None, ge=1, description="windows; unset: the calibration's own")
    length: int | None = Field(
        None, ge=2, description="tokens of a window; unset: the calibration's own"
    )
    seed: int | None = Field(None, ge=0, description="of the draw; unset: the calibration's own")

    @property
    def calibrated(self) -> bool:
        return True


class AllocatedSettings(CalibratedSettings):
    """Settings of a method whose sparsity may differ from block to block."""

    allocation: Literal["uniform", "owl"] = Field(
        "uniform",
        description="`owl`: blocks with more outliers are pruned less (see "
        "[allocation](#allocation)); for N:M without effect, as in its official code",
    )
    lambda_: float = Field(
        0.08, ge=0, lt=0.5, description="owl: the blocks' sparsities span at most twice this"
    )
    outlier_ratio: float = Field(
        5, gt=0, description="owl: an outlier is so many times the mean of its block's metric"
    )

    def unused_settings(self) -> set[str]:
        return set() if self.allocation == "owl" else {"lambda_", "outlier_ratio"}
