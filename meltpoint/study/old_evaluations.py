"""Old spellings of evaluations, which are read for one release: `{size: bytes}`, for example."""

from collections.abc import Iterator

from meltpoint import evaluations


def with_new_spellings(raw: dict) -> dict:
    """A copy of the study with old spellings of evaluations replaced; `raw` itself without any."""
    changes = {name: new for name, _, new in _old(raw)}
    return {**raw, "evaluations": {**raw["evaluations"], **changes}} if changes else raw


def warnings(raw: dict, source: str) -> list[str]:
    """A sentence for each evaluation with an old spelling; `source` is the study's file."""
    return [
        f"{source}: evaluations.{name}.{key}: {raw['evaluations'][name][key]} is an old spelling, read "
        f"for one release: write {_flow(new)}"
        for name, key, new in _old(raw)
    ]


def _old(raw: dict) -> Iterator[tuple[str, str, dict]]:
    """Evaluations with an old spelling: (name, key of the kind, settings in the new spelling)."""
    declared = raw.get("evaluations") if isinstance(raw, dict) else None
    for name, settings in declared.items() if isinstance(declared, dict) else ():
        for key, kind in evaluations.registry().items():
            value = settings.get(key) if isinstance(settings, dict) else None
            if isinstance(value, str) and value in kind.old_values:
                yield name, key, {**settings, **kind.old_values[value]}


def _flow(settings: dict) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in settings.items()) + "}"
