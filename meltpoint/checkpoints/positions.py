"""How many positions a checkpoint's model has, read without torch."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from meltpoint.checkpoints.index import index
from meltpoint.errors import MeltpointError

# What configs call the number of positions; a family has one of them.
KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_target_positions")
# A stored table of learned positions, as OPT, GPT-2 and BERT name theirs.
TABLE = re.compile(r"(^|\.)(wpe|pos\w*_emb\w*|emb\w*_pos\w*)(\.weight)?$")
# Families whose table is computed, so that no file holds it, and ends with the config's positions.
COMPUTED = {"gptj", "codegen", "ctrl", "mpt"}


@dataclass(frozen=True)
class Positions:
    """The number of a model's positions; it has no others where they are `fixed`, in a table."""

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
        """The sentence for texts that are longer than the model was made for, in a list; else none."""
        if tokens <= self.count:
            return []
        return [
            f"{texts} of {tokens} tokens are longer than the {self.count} positions that the model's "
            "config names"
        ]


def positions_of(folder: Path) -> Positions | None:
    """The positions of a checkpoint's model; None where its config names no number of them."""
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
    """Whether a checkpoint stores a table of positions."""
    try:
        return any(map(TABLE.search, index(folder)))
    except MeltpointError:
        return False


def _scaled(count: int, config: dict) -> int:
    """The positions after rotary scaling, where the config names the number before it."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor")
    if not isinstance(factor, int | float) or kind not in ("linear", "dynamic", "yarn"):
        return count
    before = scaling.get("original_max_position_embeddings") or count
    return max(count, int(before * factor))
