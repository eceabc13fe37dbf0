"""The number of positions of a checkpoint's model, read without torch."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from meltpoint.checkpoints.index import index
from meltpoint.errors import MeltpointError

# Keys of configs that hold the number of positions; each family has one of them.
KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_target_positions")
# Key of a table of learned positions, by the names in OPT, GPT-2 and BERT.
TABLE = re.compile(r"(^|\.)(wpe|pos\w*_emb\w*|emb\w*_pos\w*)(\.weight)?$")
# Families with a computed table of fixed length: no file holds it, and the config gives its length.
COMPUTED = {"gptj", "codegen", "ctrl", "mpt"}


@dataclass(frozen=True)
class Positions:
    """The number of a model's positions. If they are `fixed`, no text may be longer."""

    count: int
    fixed: bool

    def check(self, tokens: int) -> None:
        """Raises MeltpointError for a text of more tokens than a fixed table has positions."""
        if self.fixed and tokens > self.count:
            raise MeltpointError(
                f"texts of {tokens} tokens do not fit the model, which has {self.count} positions in "
                f"a table and no others: use at most {self.count} tokens"
            )

    def warnings(self, tokens: int, texts: str = "windows") -> list[str]:
        """A list with the warning for texts longer than the model was made for; [] for others."""
        if tokens <= self.count:
            return []
        return [
            f"{texts} of {tokens} tokens are longer than the {self.count} positions that the model's "
            "config names"
        ]


def positions_of(folder: Path) -> Positions | None:
    """The positions of a checkpoint's model; None if its config gives no number of them."""
    try:
        config = json.loads((folder / "config.json").read_text())
        config = config.get("text_config", config)
        count = next((config[key] for key in KEYS if isinstance(config.get(key), int)), None)
    except (OSError, ValueError, AttributeError):
        return None
    if (
        count is None
        or config.get("alibi") is True
        or config.get("position_embedding_type") == "alibi"
    ):
        return None
    return Positions(
        _scaled(count, config), config.get("model_type") in COMPUTED or _learned(folder)
    )


def _learned(folder: Path) -> bool:
    """True if a checkpoint stores a table of positions."""
    try:
        return any(map(TABLE.search, index(folder)))
    except MeltpointError:
        return False


def _scaled(count: int, config: dict) -> int:
    """The number of positions with rotary scaling, if `count` is the number before scaling."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor")
    if not isinstance(factor, int | float) or kind not in ("linear", "dynamic", "yarn"):
        return count
    before = scaling.get("original_max_position_embeddings") or count
    return max(count, int(before * factor))
