"""Which code runs: git commit and versions of packages. A leaf."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path


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


def version_of(package: str) -> str:
    """Installed version of a package; '' where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ''
