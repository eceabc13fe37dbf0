"""What the tidy frame says of each chain of a sweep, or of a group of chains."""

from meltpoint.chain import methods_of, settings_of
from meltpoint.study.resolved import Study


def steps_of(study: Study, group: str) -> dict[str, dict[str, str]]:
    """For each chain of a group, dense first: its method, level, settings and kind."""
    return {chain: _describe(study, chain) for chain in ["dense", *study.chains(group)]}


def _describe(study: Study, chain: str) -> dict[str, str]:
    steps = study.steps(chain)
    if not steps:
        return {"method": "dense", "level": "", "settings": "", "kind": ""}
    return {
        "method": methods_of(steps),
        "level": "+".join(str(step.level) for step in steps if step.level is not None),
        "settings": settings_of(steps),
        "kind": study.kind(chain),
    }
