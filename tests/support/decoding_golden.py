"""The token ids that official code gives for decoding strategies, and how a study spells each."""

import json
import re
from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared"
MODEL = SHARED / "data/models/stories260K"
FILE = SHARED / "golden/tasks/decoding_golden_dev.json"
NEW_TOKENS = 40
# The parts of a case's name that mean a strategy, with the setting of each number that follows.
FORMS = {
    "greedy": "greedy",
    "beam {}": "beam,beams={}",
    "diverse beam {} groups {} penalty {}": "diverse_beam,beams={},groups={},diversity_penalty={}",
    "contrastive search alpha {} k {}": "contrastive_search,alpha={},k={}",
    "fsd (vector, n {}) alpha {} k {}": "fsd,n={},alpha={},k={}",
    "fsd-d (n-gram, n {}) alpha {} k {}": "fsd_d,n={},alpha={},k={}",
    "contrastive decoding alpha {} beta {}, amateur = first {} of {} layers": (
        "contrastive_decoding,alpha={},beta={},amateur=first"
    ),
    "dola candidates [{}] mature {}, relative top {}, repetition penalty {}": (
        "dola,candidate_layers={},mature_layer={},relative_top={},repetition_penalty={}"
    ),
}


def prompts() -> list[dict]:
    """The prompts with the ids of each case."""
    return json.loads(FILE.read_text())["prompts"] if FILE.is_file() else []


def cases() -> list[str]:
    """The names of the cases."""
    return list(prompts()[0]["generated_ids"]) if FILE.is_file() else []


def spelled(case: str) -> str:
    """The strategy of a case as a study spells it."""
    for form, strategy in FORMS.items():
        pattern = re.escape(form).replace(r"\{\}", "(.+)")
        if match := re.fullmatch(pattern, case):
            values = [value.replace(", ", "-") for value in match.groups()]
            return strategy.format(*values)
    raise KeyError(case)
