"""Curves of a run as JSON lines and for tensorboard, through files that outlast their disk."""

from __future__ import annotations

import io
import os
import socket
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from mmengine import visualization
from mmengine.fileio import dump
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.registry import VISUALIZERS

from ... import distributed as dist
from .log import LastingFile, LogTrouble

HISTORY = 10_000  # values kept per logged scalar


class LocalVisBackend(visualization.LocalVisBackend):
    """Curves as JSON lines.

    Args:
        trouble: told where lines cannot be written.
        **kwargs: of mmengine's class.
    """

    def __init__(self, *, trouble: LogTrouble, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._trouble = trouble
        self._lines: dict[str, LastingFile] = {}

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        file = self._lines.setdefault(file_path, LastingFile(file_path, self._trouble))
        file.append(f'{dump(value_dict, file_format=file_format)}\n'.encode())

    def close(self) -> None:
        for file in self._lines.values():
            file.close()


class TensorboardVisBackend(visualization.TensorboardVisBackend):
    """Curves and pictures for tensorboard. Its own writer is a thread that dies of the first error, with a traceback.

    Args:
        trouble: told where events cannot be written.
        **kwargs: of mmengine's class.
    """

    def __init__(self, *, trouble: LogTrouble, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._trouble = trouble

    def _init_env(self) -> None:
        from torch.utils.tensorboard import FileWriter, SummaryWriter

        trouble = self._trouble

        class EventFiles(FileWriter):
            def __init__(self, log_dir: str, *_: Any) -> None:
                self.event_writer = EventWriter(log_dir, trouble)

        class Summaries(SummaryWriter):
            file_writer: Any
            all_writers: Any

            def _get_file_writer(self) -> FileWriter:
                if self.file_writer is None:
                    self.file_writer = EventFiles(self.log_dir)
                    self.all_writers = {self.log_dir: self.file_writer}
                return self.file_writer

        self._tensorboard = Summaries(self._save_dir)


class EventWriter:
    """Appends events to a file in tensorboard's form; the same interface as its `EventFileWriter`.

    Args:
        folder: where the file goes.
        trouble: told where events cannot be written.
    """

    def __init__(self, folder: str, trouble: LogTrouble) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._folder = folder
        now = time.time()
        first = self._framed(Event(wall_time=now, file_version='brain.Event:2').SerializeToString())
        name = f'events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.0'
        self._file = LastingFile(Path(folder) / name, trouble, header=first)

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Any) -> None:
        self._file.append(self._framed(event.SerializeToString()))

    def flush(self) -> None:
        """Nothing waits but what the disk does not take."""

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def _framed(data: bytes) -> bytes:
        """An event with its length and check sums."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        buffer = io.BytesIO()
        RecordWriter(buffer).write(data)
        return buffer.getvalue()


class Visualizer(visualization.Visualizer):
    """mmengine's, in which a backend that cannot write (a disk, a server) does not end the run.

    Args:
        trouble: told of it.
        **kwargs: of mmengine's class.
    """

    def __init__(self, name: str = 'visualizer', *, trouble: LogTrouble, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._trouble = trouble

    def _each(self, what: str, *args: Any, **kwargs: Any) -> None:
        if not dist.is_main():
            return
        for name, backend in self._vis_backends.items():
            with self._trouble.guarding(name):  # files of ours tell for themselves; this is for what others write
                getattr(backend, what)(*args, **kwargs)

    def add_config(self, config: Any, **kwargs: Any) -> None:
        self._each('add_config', config, **kwargs)

    def add_graph(self, model: Any, data_batch: Any) -> None:
        self._each('add_graph', model, data_batch)

    def add_image(self, name: str, image: Any, step: int = 0) -> None:
        self._each('add_image', name, image, step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        self._each('add_scalar', name, value, step, **kwargs)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        self._each('add_scalars', scalar_dict, step, file_path, **kwargs)

    def close(self) -> None:
        self._each('close')


def build_visualizer(cfg: dict, trouble: LogTrouble) -> Any:
    """What a config calls a visualizer, with outputs that outlast their disk in the place of mmengine's."""
    ours = {'LocalVisBackend': LocalVisBackend, 'TensorboardVisBackend': TensorboardVisBackend}
    backends = cfg.get('vis_backends') or []
    backends = [dict(backend) for backend in ([backends] if isinstance(backends, dict) else backends)]
    for backend in backends:
        if backend.get('type') in ours:
            backend.update(type=ours[backend['type']], trouble=trouble)
    cfg = {**cfg, 'vis_backends': backends}
    if cfg.get('type') == 'Visualizer':
        cfg.update(type=Visualizer, trouble=trouble)
    return VISUALIZERS.build(cfg)


class Histories(OrderedDict[str, HistoryBuffer]):
    """Logged scalars by name. mmengine keeps a million values of each and copies them at every update; here it is `HISTORY`."""

    def __setitem__(self, key: str, history: HistoryBuffer) -> None:
        history.max_length = HISTORY
        super().__setitem__(key, history)


def build_message_hub(name: str) -> MessageHub:
    """mmengine's message hub of this name, where hooks leave what is to be logged."""
    hub = MessageHub.get_instance(name)
    hub._log_scalars = Histories()
    return hub
