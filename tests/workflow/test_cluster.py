"""What is said of a cluster's profile before anything is submitted; there is no cluster here."""

import stat
from types import SimpleNamespace

import pytest

from meltpoint.errors import MeltpointError
from meltpoint.workflow import cluster


def run(partition, plugin="slurm"):
    """A run's workflow, as far as it is asked."""
    named = {"slurm_partition": SimpleNamespace(raw=partition)} if partition else {}
    return SimpleNamespace(
        executor_plugin=SimpleNamespace(name=plugin),
        is_main_process=True,
        resource_settings=SimpleNamespace(_parsed_default_resources=named),
    )


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A command in the place of sinfo that names two partitions."""
    command = tmp_path / "sinfo"
    command.write_text("#!/bin/sh\necho cpu\necho gpu\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_a_partition_that_the_cluster_does_not_have_is_said(slurm):
    with pytest.raises(MeltpointError) as error:
        cluster.check_cluster(run("gpus"))
    assert "the cluster has no partition 'gpus': did you mean 'gpu'?" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(MeltpointError, match="no partition 'PARTITION': known: cpu, gpu"):
        cluster.check_cluster(run("PARTITION"))


@pytest.mark.parametrize("workflow", [run("gpu"), run(None), run("gpus", plugin="local")])
def test_any_other_run_goes_on(slurm, workflow):
    cluster.check_cluster(workflow)


def test_a_cluster_that_cannot_be_asked_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster.check_cluster(run("anything"))
