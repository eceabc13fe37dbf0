"""LLM-Pruner's settings."""

import re
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meltpoint.errors import NotApplicable
from meltpoint.methods._llm_pruner_scores import GRADIENTS
from meltpoint.methods.settings import (
    CalibratedSettings,
    ExpandableSettings,
    OfficialSettings,
    ShapeSettings,
)


class Settings(OfficialSettings, ExpandableSettings, ShapeSettings, CalibratedSettings):
    """The official code's settings, and its quirk."""

    official_defaults: ClassVar[dict[str, Any]] = {"fold_across_heads": True}

    importance: Literal["param_first", "param_second", "param_mix", "vectorize", "l1", "l2"] = (
        Field("param_first", description="Importance of a channel.")
    )
    layers: str | None = Field(
        None,
        description="Layers to prune, as 4-30: from the fifth to the thirtieth. Default: all.",
    )
    structure: Literal["blockwise", "channelwise"] = Field(
        "blockwise",
        description="What is cut: heads and neurons, or channels of the residual stream.",
    )
    steps: int = Field(1, ge=1, description="Number of steps in which the level is reached.")
    scope: Literal["local", "global"] = Field(
        "local", description="Whether each layer loses the same ratio, or all layers compete."
    )
    fold_across_heads: bool = Field(
        False,
        description="Whether scores of query heads count for other key heads than their own, as in the "
        "published code.",
    )

    @property
    def calibrated(self) -> bool:
        """True for an importance that needs gradients."""
        return bool(GRADIENTS[self.importance])

    def unused_settings(self) -> set[str]:
        """Names of settings without effect, such as the calibration's if only weights count."""
        unused = set() if self.calibrated else set(CalibratedSettings.model_fields)
        if self.structure == "channelwise":
            return unused | {"fold_across_heads", "expand_kv", "scope"}
        return unused | ({"fold_across_heads"} if self.expand_kv else set())

    @field_validator("layers")
    @classmethod
    def _layers_are_a_range(cls, value: str | None) -> str | None:
        if value is not None:
            parts = re.fullmatch(r"(\d+)-(\d+)", value)
            if parts is None or int(parts[1]) >= int(parts[2]):
                raise ValueError(
                    f"{value} is no range of layers: write the first, counted from 0, and the one "
                    "behind the last, as in layers=4-30"
                )
        return value

    @model_validator(mode="after")
    def _channels_pass_all_layers(self) -> Self:
        if self.structure == "channelwise" and self.layers is not None:
            raise ValueError(
                f"layers={self.layers}: the channels of structure=channelwise pass all layers; leave "
                "one of the two out"
            )
        return self

    def chosen(self, count: int) -> range:
        """Indices of the layers to prune in a model of `count` layers.

        Raises NotApplicable if the setting `layers` names more layers than that.
        """
        if self.layers is None:
            return range(count)
        first, end = map(int, self.layers.split("-"))
        if end > count:
            raise NotApplicable(
                f"llm_pruner: layers={self.layers} goes beyond the model, which has {count} layers"
            )
        return range(first, end)
