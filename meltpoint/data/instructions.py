"""Sets of instructions: prompts with an optional query, and the responses that a model shall give."""

from collections.abc import Mapping
from pathlib import Path

from meltpoint.data import corpora
from meltpoint.errors import MeltpointError

# The Alpaca templates with and without a query, up to the beginning of the response.
ALPACA_QUERY = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "{prompt}\n\n### Input:\n{query}\n\n### Response:\n"
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{prompt}\n\n### Response:\n"
)
TEMPLATES = {"plain": ("{prompt}\n{query}\n", "{prompt}\n"), "alpaca": (ALPACA_QUERY, ALPACA)}


def read_pairs(corpus: Mapping, path: Path | None) -> list[tuple[str, str]]:
    """Prompt and response of each record, as texts; "" for the responses of a set without any.

    corpus: a corpus with `instructions`, as a study declares it; `path` is a local corpus's file.
    Raises MeltpointError, naming the key, for a column that the records do not have.
    """
    names = corpus["instructions"]
    columns = {
        key: _column(corpus, path, key) if names[key] is not None else None
        for key in ("prompt", "query", "response")
    }
    count = len(columns["prompt"])
    if not any(map(str.strip, columns["prompt"])):
        raise MeltpointError(f"{path or corpus['hub']}: the corpus is empty: it has no prompts")
    queries, responses = (columns[key] or [""] * count for key in ("query", "response"))
    template = TEMPLATES[names["template"]]
    prompts = map(_render, columns["prompt"], queries, [template] * count)
    return list(zip(prompts, responses, strict=True))


def _render(prompt: str, query: str, template: tuple[str, str]) -> str:
    with_query, without = template
    return (with_query if query else without).format(prompt=prompt, query=query)


def _column(corpus: Mapping, path: Path | None, key: str) -> list[str]:
    """Texts of a column, in the order of the records."""
    field = corpus["instructions"][key]
    try:
        return corpora.read_column(corpus, path, field)
    except MeltpointError as error:
        # The message for a broken file does not mention the key `field`, and is passed on.
        if "`field`" not in str(error):
            raise
        raise MeltpointError(
            f"{path or corpus['hub']}: not every record has a text under {field!r}: name the column "
            f"of the {key} under the corpus's `instructions.{key}`"
        ) from None
