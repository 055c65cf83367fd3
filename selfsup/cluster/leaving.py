"""A process whose launcher is gone ends. Nothing heavy is imported: any script that a launcher starts can do it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from .tree import is_running, kill, kill_below

GRACE_S = 4.0  # from SIGTERM to SIGKILL


def leave_with_launcher(every_s: float = 0.5) -> None:
    """End this process soon after its launcher: SIGTERM, and SIGKILL where it still runs after `GRACE_S` seconds.

    torchrun puts its processes into sessions of their own, so nothing else ends them when it is killed (SIGKILL, out of memory):
    they would train on, unwatched, and hold the GPUs and the work dir. A thread asks the system twice a second who the parent is.
    The children of this process, loader workers above all, end before it.

    Args:
        every_s: seconds between two questions.
    """
    name = 'watch the launcher'
    if any(thread.name == name for thread in threading.enumerate()):
        return
    # set by tools/torchrun.py, which may be gone by now
    launcher = int(os.environ.get('SELFSUP_LAUNCHER') or os.getppid())
    direct = os.getppid() == launcher  # else a wrapper script stands between, or the launcher is gone

    def follow() -> None:
        while os.getppid() == launcher if direct else is_running(launcher):
            time.sleep(every_s)
        print(
            f'[rank {os.environ.get("RANK", "?")}] the launcher is gone, so this process ends',
            file=sys.stderr,
            flush=True,
        )
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:  # which would end it before its children
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE_S)
        kill_below(os.getpid())
        kill([os.getpid()])

    threading.Thread(target=follow, name=name, daemon=True).start()
