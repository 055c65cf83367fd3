"""What a run needs to be understood later: versions, machine, commit, command."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import sys

import torch

from ..provenance import git_commit, version_of

PACKAGES = ('torchvision', 'mmengine', 'mmcv-lite', 'timm', 'numpy', 'pillow', 'pillow-simd', 'scikit-learn')


def collect_environment() -> dict[str, str]:
    """Versions, machine, git commit (with a '+changes' mark) and command line, as printable strings."""
    env = {
        'selfsup': version_of('selfsup'),
        'python': platform.python_version(),
        'platform': platform.platform(),
        'host': socket.gethostname(),
        'cpus': str(os.cpu_count()),
        'git_commit': git_commit(),
        'command': shlex.join([sys.executable, *sys.argv]),
    }
    env['torch'] = str(torch.__version__)  # unlike the metadata it names the CUDA build
    env.update({name: version for name in PACKAGES if (version := version_of(name))})
    if torch.cuda.is_available():
        env['gpus'] = ', '.join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        env['cuda'] = str(torch.version.cuda)
        env['cudnn'] = str(torch.backends.cudnn.version())
    else:
        env['gpus'] = 'none'
    return env
