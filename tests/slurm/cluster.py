"""A real Slurm of one machine, in a folder of its own: controller, two nodes that pretend to have GPUs, and nothing of it afterwards.

    with Cluster(folder) as cluster:
        cluster.run('srun', '--ntasks=2', 'hostname')

No systemd, no cgroups, no data base. Nodes are daemons on other ports of this machine; nothing outside of the folder is written. Needs
root and the packages of `PACKAGES`.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGES = 'slurmctld slurmd slurm-client munge'
INSTALL = f'apt-get install -y --no-install-recommends {PACKAGES}'
PROGRAMS = ('slurmctld', 'slurmd', 'srun', 'sbatch', 'scontrol', 'munged')
# A credential lives that long: a job is refused that a busy machine starts later, and a requeued one waits for as long.
CREDENTIAL_S = 20
KILL_WAIT_S, GRACE_S = 10, 15  # from SIGTERM to SIGKILL; from the notice of a preemption to SIGTERM
SETTINGS = """\
ClusterName=small
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={sockets}/munge.sock,cred_expire={cred_expire}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={sockets}/%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
KillWait={kill_wait}
MessageTimeout=30
MinJobAge=1800
SlurmdTimeout=120
SlurmctldTimeout=120
PropagateResourceLimits=NONE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=high Nodes=ALL Default=NO MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE = 'NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 RealMemory=64000 Gres=gpu:8 State=UNKNOWN\n'
# sacct asks a data base, which there is none of; submitit asks it for the states of its jobs
SACCT = """\
#!/bin/sh
# answers `sacct -o JobID,State,NodeList --parsable2 -j ID ...` from what the controller remembers
echo 'JobID|State|NodeList'
while [ $# -gt 0 ]; do
    [ "$1" != -j ] || scontrol -o show job "$2" 2>/dev/null |
        sed -n 's/^JobId=\\([0-9]*\\) .* JobState=\\([A-Z_]*\\) .* NodeList=\\([^ ]*\\) .*/\\1|\\2|\\3/p'
    shift
done
"""


def obstacle() -> str | None:
    """Why no cluster can be started here, and how to mend it, in one line; None where it can."""
    if os.geteuid() != 0:
        return 'a Slurm of one machine needs root: sudo bash tests/slurm/run.sh'
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f'{", ".join(missing)} not found; on Debian and Ubuntu: {INSTALL}'
    with tempfile.TemporaryDirectory() as folder:
        try:
            _make_device(Path(folder) / 'gpu')
        except OSError as error:
            return f'this container may not make devices ({error.strerror}), which stand in for GPUs: docker run --cap-add=MKNOD'
    return None


def _make_device(path: Path) -> None:
    """Another name of /dev/null: Slurm takes no other file for a GPU."""
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system and trainings take by themselves."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().randrange(11000, 19999)
        with socket.socket() as tried:
            if tried.connect_ex(('127.0.0.1', port)) != 0:
                found.add(port)
    return sorted(found)


class Cluster:
    """Two nodes, n1 and n2, of 64 cores and 8 GPUs each, and the partitions main and high; high preempts main.

    The names of the nodes do not resolve, as on many a cluster.

    Args:
        folder: of all its files; made here, and left for a look at the logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = ('n1', 'n2')
        self.sockets: Path | None = None  # a short path of its own: names of sockets end at 107 characters
        self.daemons: list[subprocess.Popen] = []
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(('SLURM_', 'SBATCH_', 'SRUN_'))},
            'SLURM_CONF': str(folder / 'slurm.conf'),
            'PATH': f'{folder / "bin"}:{Path(sys.executable).parent}:{os.environ["PATH"]}',
        }

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(
        self,
        *words: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 900,
    ) -> subprocess.CompletedProcess[str]:
        """One command in this cluster, to its end; whatever it printed and its status."""
        return subprocess.run(
            list(map(str, words)),
            cwd=cwd,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows of a job: JobState, Restarts, ExitCode, Reason, ..."""
        return _fields(self.run('scontrol', '-o', 'show', 'job', number).stdout)

    def jobs(self) -> list[dict[str, str]]:
        """The same of all jobs that there were, by their numbers."""
        return [_fields(line) for line in self.run('scontrol', '-o', 'show', 'job').stdout.splitlines() if '=' in line]

    def log(self) -> str:
        """The last words of the controller and the nodes."""
        paths = sorted(self.folder.glob('slurm*.log'))
        return '\n'.join(f'--- {path.name}\n{path.read_text(errors="replace")[-2000:]}' for path in paths)

    def wait_for(self, number: str, *states: str, restarts: int = 0, seconds: float = 240) -> dict[str, str]:
        """Wait until a job has one of some states and was requeued `restarts` times or more.

        Raises:
            TimeoutError: it has not in this time; the message says what it has.
        """
        end = time.monotonic() + seconds
        while True:
            known = self.job(number)
            if known.get('JobState') in states and int(known.get('Restarts', 0)) >= restarts:
                return known
            if time.monotonic() > end:
                raise TimeoutError(f'job {number} is not {" or ".join(states)} with {restarts} restarts: {known}')
            time.sleep(0.3)

    def _configure(self) -> None:
        folder, host = self.folder, socket.gethostname().partition('.')[0]
        self.sockets = Path(tempfile.mkdtemp(prefix='slurm-'))
        for made in (folder / 'state', folder / 'bin', folder / 'gpus', *(self.sockets / name for name in self.names)):
            made.mkdir(parents=True)
        ports = free_ports(1 + len(self.names))
        text = SETTINGS.format(
            host=host,
            port=ports[0],
            folder=folder,
            sockets=self.sockets,
            kill_wait=KILL_WAIT_S,
            grace=GRACE_S,
            cred_expire=CREDENTIAL_S,
            first_job=random.SystemRandom().randrange(1000, 900000),  # trainings make their port of it
        )
        nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(self.names, ports[1:], strict=True)]
        (folder / 'slurm.conf').write_text(text.replace('PartitionName', ''.join(nodes) + 'PartitionName', 1))
        for number in range(8):
            _make_device(folder / 'gpus' / f'gpu{number}')
        (folder / 'gres.conf').write_text(f'NodeName=n[1-2] Name=gpu File={folder}/gpus/gpu[0-7]\n')
        (folder / 'munge.key').write_bytes(secrets.token_bytes(1024))
        (folder / 'munge.key').chmod(0o400)
        (folder / 'bin' / 'sacct').write_text(SACCT)
        (folder / 'bin' / 'sacct').chmod(0o755)

    def _start(self) -> None:
        folder = self.folder
        munge = [f'--key-file={folder}/munge.key', f'--socket={self.sockets}/munge.sock']
        munge += [f'--{key}={folder}/munged.{key[:3]}' for key in ('pid-file', 'seed-file', 'log-file')]
        self._daemon('munged', '--foreground', '--force', *munge)
        self._wait(lambda: (self.sockets / 'munge.sock').exists(), 'munged does not answer')
        self._daemon('slurmctld', '-D', '-c', '-i')
        for name in self.names:
            self._daemon('slurmd', '-D', '-N', name)
        self._wait(self._is_idle, 'the nodes do not come up')

    def _daemon(self, *words: str) -> None:
        with (self.folder / f'{words[0]}.{len(self.daemons)}.out').open('w') as out:
            self.daemons.append(
                subprocess.Popen(
                    words,
                    env=self.environment,
                    stdout=out,
                    stderr=out,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for who started the cluster, who then stops it in order
                )
            )

    def _is_idle(self) -> bool:
        return self.run('sinfo', '-h', '-N', '-p', 'main', '-o', '%T').stdout.split() == ['idle'] * len(self.names)

    def _wait(self, condition, otherwise: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            dead = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                logs = '\n'.join(path.read_text()[-600:] for path in sorted(self.folder.glob('*.out')))
                raise RuntimeError(f'{otherwise} (ended: {", ".join(dead) or "none"}):\n{logs}')
            time.sleep(0.1)

    def stop(self) -> None:
        """End all jobs, then the daemons, then what is left of their processes."""
        if len(self.daemons) > 2 and self.daemons[1].poll() is None:
            self._end_jobs()
        marks = self._processes()  # tasks whose daemon would not end them
        for daemon in reversed(self.daemons):  # munged last: the others say goodbye through it
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in {*marks, *self._processes()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.daemons = []
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def _end_jobs(self) -> None:
        try:
            numbers = self.run('squeue', '-h', '-o', '%A', timeout=20).stdout.split()
            if numbers:
                self.run('scancel', '--signal=KILL', *numbers, timeout=20)
                self.run('scancel', *numbers, timeout=20)
            end = time.monotonic() + 20
            while time.monotonic() < end and self.run('squeue', '-h', '-t', 'R,CG,S,CF', timeout=20).stdout.strip():
                time.sleep(0.2)
        except subprocess.TimeoutExpired:
            pass

    def left_over(self) -> list[str]:
        """Command lines of processes that belong to this cluster and still run."""
        return [_command(pid) for pid in self._processes()]

    def _processes(self) -> list[int]:
        """Processes that were started in this cluster: its settings are in their environment."""
        mark = f'SLURM_CONF={self.folder / "slurm.conf"}'.encode()
        return [pid for pid in _pids() if pid != os.getpid() and mark in _environment(pid)]


def _fields(shown: str) -> dict[str, str]:
    return dict(word.partition('=')[::2] for word in shown.split() if '=' in word)


def _pids() -> Sequence[int]:
    return [int(path.name) for path in Path('/proc').iterdir() if path.name.isdecimal()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode()
    except OSError:
        return ''
