"""What can be wrong with a cluster's profile, said before anything is submitted."""

import shutil
import subprocess
from typing import TYPE_CHECKING

from meltpoint.errors import MeltpointError
from meltpoint.text import did_you_mean
from meltpoint.workflow.model_sizes import ModelSizes

if TYPE_CHECKING:
    from snakemake.workflow import Workflow


def check_cluster(workflow: "Workflow") -> None:
    """Raises MeltpointError for a partition that the cluster of a run with SLURM does not have."""
    plugin = workflow.executor_plugin
    if plugin is None or plugin.name != "slurm" or not workflow.is_main_process:
        return
    defaults = workflow.resource_settings._parsed_default_resources
    partition = defaults.get("slurm_partition")
    if partition is not None and (known := partitions()):
        check_partition(str(partition.raw).strip("'\""), known)


def check_sizes(workflow: "Workflow", sizes: ModelSizes) -> None:
    """Raises MeltpointError for models of unknown size in a run whose jobs are placed by memory."""
    placed = not workflow.local_exec or "mem_mb" in workflow.global_resources
    if placed and not workflow.dryrun and (hint := sizes.hint()):
        raise MeltpointError(hint)


def check_partition(name: str, known: list[str]) -> None:
    """Raises MeltpointError for a partition that is not one of those known."""
    if name not in known:
        raise MeltpointError(
            f"slurm_partition: the cluster has no partition {name!r}{did_you_mean(name, known)} (edit "
            "default-resources in profiles/slurm/config.yaml)"
        )


def partitions() -> list[str]:
    """Names of the cluster's partitions; none where SLURM cannot be asked."""
    if shutil.which("sinfo") is None:
        return []
    command = ["sinfo", "--noheader", "--format=%R"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return sorted(set(result.stdout.split())) if result.returncode == 0 else []
