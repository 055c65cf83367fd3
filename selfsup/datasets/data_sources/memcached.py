"""Read files through the memcached client module `mc` of some clusters."""

from __future__ import annotations

import importlib.util
import os
import warnings
from typing import Any

from ...errors import ConfigError, SelfSupWarning


class MemcachedReader:
    """File contents by path. The connection is made by the process that reads first: it does not survive a fork.

    Args:
        folder: folder that holds `server_list.conf` and `client.conf`.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._client: Any = None
        self._owner = -1

    def read(self, path: str) -> bytes:
        import mc

        if self._owner != os.getpid():
            files = (os.path.join(self.folder, name) for name in ('server_list.conf', 'client.conf'))
            self._client, self._owner = mc.MemcachedClient.GetInstance(*files), os.getpid()
        value = mc.pyvector()
        self._client.Get(path, value)
        return bytes(mc.ConvertBuffer(value))

    def __getstate__(self) -> dict:
        return {'folder': self.folder, '_client': None, '_owner': -1}


def open_reader(memcached: bool, mclient_path: str | os.PathLike | None) -> MemcachedReader | None:
    """A reader where it is wanted and possible; None means plain files.

    Raises:
        ConfigError: `memcached=True` without `mclient_path`.
    """
    if not memcached:
        return None
    if importlib.util.find_spec('mc') is None:
        warnings.warn(
            "memcached=True is ignored: the module 'mc' is not installed, so images are read from files.",
            SelfSupWarning,
            stacklevel=2,
        )
        return None
    if mclient_path is None:
        raise ConfigError('memcached=True needs mclient_path, the folder of server_list.conf and client.conf.')
    return MemcachedReader(os.fspath(mclient_path))
