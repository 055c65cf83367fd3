"""Which code runs on which files: git commit, versions of packages, digests. A leaf."""

from __future__ import annotations

import hashlib
import os
import subprocess
from importlib import metadata
from pathlib import Path


def git_commit() -> str:
    """Commit of the checkout that holds this package; 'unknown' for an installed package or without git."""
    folder = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ['git', '-C', str(folder), 'rev-parse', 'HEAD'], capture_output=True, text=True, timeout=10
        )
        if head.returncode:
            return 'unknown'
        changed = subprocess.run(
            ['git', '-C', str(folder), 'status', '--porcelain', '-uno'], capture_output=True, text=True, timeout=10
        )
        return head.stdout.strip() + ('+changes' if changed.stdout.strip() else '')
    except (OSError, subprocess.TimeoutExpired):
        return 'unknown'


def git_message() -> str:
    """First line of the message of that commit; '' where there is none."""
    try:
        command = ['git', '-C', str(Path(__file__).resolve().parent), 'log', '-1', '--format=%s']
        log = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return log.stdout.strip() if log.returncode == 0 else ''
    except (OSError, subprocess.TimeoutExpired):
        return ''


def version_of(package: str) -> str:
    """Installed version of a package; '' where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ''


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
