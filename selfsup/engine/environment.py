"""What a run needs to be understood later: versions, machine, commit, command."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

PACKAGES = ('torchvision', 'mmengine', 'mmcv-lite', 'timm', 'numpy', 'pillow', 'pillow-simd', 'scikit-learn')


def collect_environment() -> dict[str, str]:
    """Versions, machine, git commit (with a '+changes' mark) and command line, as printable strings."""
    env = {'selfsup': _version('selfsup'), 'python': platform.python_version(), 'platform': platform.platform(),
           'host': socket.gethostname(), 'cpus': str(os.cpu_count()), 'git_commit': git_commit(),
           'command': shlex.join([sys.executable, *sys.argv])}
    env['torch'] = str(torch.__version__)  # unlike the metadata it names the CUDA build
    env.update({name: version for name in PACKAGES if (version := _version(name))})
    if torch.cuda.is_available():
        env['gpus'] = ', '.join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        env['cuda'] = str(torch.version.cuda)
        env['cudnn'] = str(torch.backends.cudnn.version())
    else:
        env['gpus'] = 'none'
    return env


def git_commit() -> str:
    """Commit of the checkout that holds this package; 'unknown' for an installed package or without git."""
    folder = Path(__file__).resolve().parent
    try:
        head = subprocess.run(['git', '-C', str(folder), 'rev-parse', 'HEAD'], capture_output=True, text=True, timeout=10)
        if head.returncode:
            return 'unknown'
        changed = subprocess.run(['git', '-C', str(folder), 'status', '--porcelain', '-uno'], capture_output=True, text=True, timeout=10)
        return head.stdout.strip() + ('+changes' if changed.stdout.strip() else '')
    except (OSError, subprocess.TimeoutExpired):
        return 'unknown'


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ''
