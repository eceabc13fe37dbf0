"""What the settings of all methods have in common."""

from pydantic import BaseModel, ConfigDict, Field


class MethodSettings(BaseModel):
    """Settings of a method; a step overrides them by name, all values are numbers or words."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CalibratedSettings(MethodSettings):
    """Settings of a method that looks at text: which calibration, and what to change in it."""

    calibration: str = Field("default", description="the study's calibration that is used")
    samples: int | None = Field(None, ge=1, description="windows; unset: the calibration's own")
    length: int | None = Field(
        None, ge=2, description="tokens of a window; unset: the calibration's own"
    )
    seed: int | None = Field(None, ge=0, description="of the draw; unset: the calibration's own")
