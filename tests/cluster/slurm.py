"""A real SLURM of one node, for tests: on loopback, below one folder, as whoever calls, gone when its block ends.

There are no systemd, no cgroups and no accounting. Its cards are device files that no card stands behind: SLURM hands
them out, one to a job, and names them in CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# SLURM takes a card for one only if its file is a character device, each another one.
CARDS = ("/dev/null", "/dev/zero")
CORES = 4
MEMORY_MIB = 64000
PATIENCE = 60.0


def missing() -> str | None:
    """Why no SLURM can be started here; None where one can."""
    lacking = [name for name in (*PROGRAMS, "setpriv") if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed; Debian has them in {PACKAGES}"
    if os.getuid() != 0:
        return "a private SLURM was tried as root alone"
    return None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Start a SLURM below `folder`; yield the environment its clients need; stop it and its jobs.

    Raises:
        TimeoutError: a daemon does not come up; its log is named.
    """
    for name in ("state", "spool", "munge", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "munge").chmod(0o700)
    conf = _configure(folder)
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    with contextlib.ExitStack() as daemons:
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        start = _starter(daemons, folder, environment)
        munge = folder / "munge"
        options = {"key-file": key, "socket": munge / "socket", "pid-file": munge / "pid", "seed-file": munge / "seed"}
        start("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in options.items()))
        _wait(lambda: _works(environment, "munge", f"--socket={munge / 'socket'}", "--no-input"), folder / "munged.log")
        start("slurmctld", "-D", "-f", str(conf))
        _wait(lambda: _works(environment, "scontrol", "ping"), folder / "slurmctld.log")
        start("slurmd", "-D", "-f", str(conf), "-N", _host())
        _wait(lambda: said(environment, "sinfo", "-h", "-o", "%T").split()[:1] == ["idle"], folder / "slurmd.log")
        try:
            yield environment
        finally:
            _works(environment, "scancel", "--user", str(os.getuid()), "--signal=KILL")
            _works(environment, "scancel", "--user", str(os.getuid()))
            with contextlib.suppress(TimeoutError):
                _wait(lambda: not said(environment, "squeue", "-h"), folder / "slurmctld.log")


def said(environment: Mapping[str, str], *command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def _works(environment: Mapping[str, str], *command: str) -> bool:
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _starter(
    daemons: contextlib.ExitStack, folder: Path, environment: Mapping[str, str]
) -> Callable[..., subprocess.Popen[bytes]]:
    def start(*command: str) -> subprocess.Popen[bytes]:
        log = daemons.enter_context((folder / f"{command[0]}.log").open("wb"))
        # It ends with the tests, also where those are killed.
        tied = ("setpriv", "--pdeathsig", "TERM", *command)
        daemon = subprocess.Popen(tied, env=environment, stdout=log, stderr=log, start_new_session=True)
        daemons.callback(_stop, daemon)
        return daemon

    return start


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(timeout=20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _wait(ready: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {PATIENCE:.0f} s for SLURM; {log}: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _configure(folder: Path) -> Path:
    """Write what the daemons read; return slurm.conf."""
    controller, node = _free_ports(2)
    host = _host()
    conf = folder / "slurm.conf"
    settings = {
        "ClusterName": "mpno",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": controller,
        "SlurmdPort": node,
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder / 'munge' / 'socket'}",
        "CredType": "cred/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "GresTypes": "gpu",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0",
        "SlurmdParameters": "config_overrides",  # cores and memory are what it says here, not what the machine has
        "MinJobAge": 3600,  # ended jobs stay to be asked about
        "KillWait": 2,
        "ReturnToService": 2,
        "AccountingStorageType": "accounting_storage/none",
        "JobCompType": "jobcomp/none",
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines.append(f"NodeName={host} NodeAddr=127.0.0.1 CPUs={CORES} RealMemory={MEMORY_MIB} Gres=gpu:{len(CARDS)}")
    lines.append(f"PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP")
    conf.write_text("\n".join(lines) + "\n")
    (folder / "gres.conf").write_text("".join(f"NodeName={host} Name=gpu File={card}\n" for card in CARDS))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nIgnoreSystemd=yes\n")
    # The executor clears SLURM_CONF before its srun; a site has its settings where srun finds them.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    return conf
