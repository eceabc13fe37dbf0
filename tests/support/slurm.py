"""A SLURM of one node on this machine, for tests: no systemd, no control groups, no accounting.

The cards are fake: character devices that the scheduler counts and hands out. Root is needed, and
Debian's packages slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins and munge.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support import hanging

# Where the job steps of Snakemake's plugin look, whatever SLURM_CONF says.
SYSTEM = Path("/etc/slurm")
COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")

# Seconds for which a node that fails is away.
DOWN = 25.0

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
SlurmctldPort={port}
SlurmdPort={next_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
AccountingStorageType=accounting_storage/none
MinJobAge=3600
BatchStartTimeout=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory={memory} Gres=gpu:fake:{cards} State=UNKNOWN
PartitionName=cards Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Reason why no SLURM can be started here; None where one can."""
    if os.geteuid() != 0:
        return "a SLURM of one's own needs root"
    path = f"{os.environ['PATH']}:/usr/sbin"
    if absent := [name for name in COMMANDS if shutil.which(name, path=path) is None]:
        return f"{', '.join(absent)} of SLURM are not installed"
    if (SYSTEM / "slurm.conf").exists():
        return f"a SLURM is configured here already ({SYSTEM})"
    return None


@contextlib.contextmanager
def running(folder: Path, cards: int = 2) -> Iterator[Path]:
    """Runs a SLURM with a number of fake cards; gives its log of finished jobs."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    host, port = _host(), _free_port()
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    names = {"host": host, "folder": folder, "port": port, "next_port": port + 1}
    memory = pages * size // 2**20 - 512
    (folder / "slurm.conf").write_text(CONF.format(**names, memory=memory, cards=cards))
    devices = []
    for card in range(cards):
        device = folder / f"card{card}"
        os.mknod(device, 0o20666, os.makedev(1, 3))
        devices.append(f"NodeName={host} Name=gpu Type=fake File={device}\n")
    (folder / "gres.conf").write_text("".join(devices))
    SYSTEM.mkdir(exist_ok=True)
    links = [SYSTEM / name for name in ("slurm.conf", "gres.conf")]
    try:
        for link in links:
            link.symlink_to(folder / link.name)
        _start(folder, host)
        yield folder / "jobs.txt"
    finally:
        for name in ("slurmd", "slurmctld"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)
        for link in links:
            link.unlink(missing_ok=True)


def fail_node(folder: Path) -> None:
    """Kills the node's daemon and all of its jobs at once, as a power cut does; it comes up again.

    A job counts as lost where the node has no step of it some time after its start.
    """
    pid = int((folder / "slurmd.pid").read_text())
    for process in [psutil.Process(pid), *steps()]:
        kill_with_children(process)
    time.sleep(DOWN)
    _start_node(folder, _host())


def steps() -> list[psutil.Process]:
    """The daemons of the job steps that run on the node."""
    return [x for x in psutil.process_iter(["name"]) if x.info["name"] == "slurmstepd"]


def cancel_all() -> None:
    """Cancels all jobs, and waits until none is left on the node."""
    subprocess.run(["scancel", "--partition", "cards"], check=True)
    deadline = time.monotonic() + hanging.SECONDS
    while steps():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes() -> list[psutil.Process]:
    """The processes of all jobs that run on the node, without the daemons of their steps."""
    found = []
    for step in steps():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += step.children(recursive=True)
    return found


def kill_with_children(process: psutil.Process) -> None:
    """Kills a process, and then all that have come from it: it cannot tell anybody of their end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _start_node(folder: Path, host: str) -> None:
    conf = str(folder / "slurm.conf")
    subprocess.run(["/usr/sbin/slurmd", "-f", conf, "-N", host], check=True)


def _start(folder: Path, host: str) -> None:
    if subprocess.run(["munge", "-n"], capture_output=True).returncode != 0:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True)
    subprocess.run(["/usr/sbin/slurmctld", "-f", str(folder / "slurm.conf")], check=True)
    _start_node(folder, host)
    deadline = time.monotonic() + hanging.SECONDS
    while "idle" not in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout:
        assert time.monotonic() < deadline, "the node did not come up"
        time.sleep(0.3)


def _free_port() -> int:
    """A port that is free, and so is the next, most likely."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
