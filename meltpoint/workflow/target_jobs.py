"""The jobs that a node of a cluster is told to run, where their wildcards hold commas.

Snakemake starts a process on the node with `--target-jobs RULE:WILDCARD=VALUE,WILDCARD=VALUE`. It
writes a value with commas in quotes, and then splits at those commas too (seen in 9.27.1). Of the chain
`wanda@0.5,calibration=given` the node would make wanda@0.5, and end well.
"""

import re
from typing import TYPE_CHECKING

from snakemake_interface_executor_plugins.utils import TargetSpec

if TYPE_CHECKING:
    from snakemake.dag import DAG
    from snakemake.workflow import Workflow

OPTION = "--target-jobs"


def mend_target_jobs(arguments: list[str]) -> None:
    """Has Snakemake read the target jobs of its command line, if any, by their rules' wildcards.

    To be called from the Snakefile: the jobs are looked up once all rules are known.
    """
    entries = entries_of(arguments)
    if not entries:
        return
    # Snakemake's modules can be imported in one order alone, which Snakemake itself knows.
    from snakemake.dag import DAG

    init = DAG.init

    async def init_with_whole_wildcards(dag: "DAG", *args, **kwargs) -> None:
        dag.workflow.dag_settings.target_jobs = [spec_of(e, dag.workflow) for e in entries]
        await init(dag, *args, **kwargs)

    DAG.init = init_with_whole_wildcards


def entries_of(arguments: list[str]) -> list[str]:
    """Values of the option in a command line."""
    if OPTION not in arguments:
        return []
    values = arguments[arguments.index(OPTION) + 1 :]
    end = next((i for i, value in enumerate(values) if value.startswith("--")), len(values))
    return values[:end]


def spec_of(entry: str, workflow: "Workflow") -> TargetSpec:
    """The job that an entry names."""
    rule, _, text = entry.partition(":")
    return TargetSpec(rule, wildcards_in(text, workflow.get_rule(rule).wildcard_names))


def wildcards_in(text: str, names: set[str]) -> dict[str, str]:
    """Values by the wildcards' names; a value goes on to the next name, commas and all."""
    parts = re.split(rf"(?:^|,)({'|'.join(map(re.escape, names))})=", text) if names else []
    return {name: value.strip("'\"") for name, value in zip(parts[1::2], parts[2::2], strict=True)}
