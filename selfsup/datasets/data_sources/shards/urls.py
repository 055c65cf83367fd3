"""What is a URL, and the file system that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import DataError


def is_url(path: str) -> bool:
    """True for what fsspec reads, `s3://...`, and not the file system."""
    return '://' in path


def file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """fsspec's file system of a URL, made anew in each process (connections do not outlive a fork), and the path in it.

    Raises:
        DataError: fsspec, or what it needs for such URLs, is not installed, or the URL means nothing to it.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise DataError(f'{url}: URLs are read by fsspec. Install it: pip install fsspec') from None
    try:
        return url_to_fs(url, **options)
    except ImportError as error:
        raise DataError(
            f'{url} cannot be read: {error}. (pip install s3fs, gcsfs, aiohttp, ..., as it says.)'
        ) from None
    except ValueError as error:
        raise DataError(f'{url} cannot be read: {error}.') from None
