"""The files that SparK's own code (arXiv:2301.03580) writes while it trains, for scripts that read them."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..distributed import is_main
from ..engine import Run, unwrap
from ..errors import ConfigError, DataError, SelfSupError
from ..files import write_atomic
from ..provenance import git_commit, git_message
from ..registry import HOOKS
from ..weights.extract import export_backbone
from .logger_hook import pace

LOG = 'pretrain_log.txt'


@HOOKS.register_module()
class SparKLogHook(Hook):
    """Writes `pretrain_log.txt` after every epoch, and with `export` the backbone at every save.

    `pretrain_log.txt` in the work dir: a JSON object with `name`, `cmd`, `git_commit_id`, `git_commit_msg` and `model`, an empty line,
    then one object per epoch: `cur_ep` ('k/E'), `last_L` (mean loss of the epoch over all ranks), `rema` (time that is left), `fini`
    (when the run will end). A resumed run goes on with the lines of the epochs before it. What cannot be written is logged; the run
    goes on.

    Args:
        export: name of the network, such as 'resnet50': whenever a checkpoint was saved, `{export}_1kpretrained_timm_style.pth` in the
            work dir holds the backbone's weights alone, in timm's names. '': none.

    Raises:
        ConfigError: `export` cannot be part of a file name.
    """

    priority = 'LOWEST'  # after the checkpoint

    def __init__(self, export: str = '') -> None:
        if not re.fullmatch(r'[\w.+-]*', export):
            raise ConfigError(f'SparKLogHook export={export!r}: use letters, digits and . _ + -, as in resnet50.')
        self.export = export
        self._epochs: list[dict[str, Any]] = []
        self._due = False  # a save began in this iteration

    def before_train(self, runner: Run) -> None:
        self._start = time.monotonic(), runner.iter
        if is_main():
            self._epochs = _read(Path(runner.work_dir) / LOG)[: runner.epoch] if runner.iter else []
            self._write(runner)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict) -> None:
        self._due = True

    def after_train_iter(self, runner: Run, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._export(runner)

    def after_train_epoch(self, runner: Run) -> None:
        self._export(runner)
        measured = pace(runner, *self._start)
        if not is_main() or measured is None:
            return
        loss, time_left = measured
        self._epochs.append(
            {
                'cur_ep': f'{runner.epoch + 1}/{runner.max_epochs}',
                'last_L': loss,
                'rema': str(time_left),
                'fini': f'{datetime.now() + time_left:%m-%d %H:%M}',
            }
        )
        self._write(runner)

    def _export(self, runner: Run) -> None:
        """Write the backbone where a checkpoint was saved just now: the weights are still those of the checkpoint."""
        due, self._due = self._due, False
        if due and self.export and is_main():
            path = Path(runner.work_dir) / f'{self.export}_1kpretrained_timm_style.pth'
            _try(runner, lambda: export_backbone(unwrap(runner.model), path, 'timm'))

    def _write(self, runner: Run) -> None:
        head = {
            'name': Path(runner.work_dir).name,
            'cmd': shlex.join([sys.executable, *sys.argv]),
            'git_commit_id': git_commit(),
            'git_commit_msg': git_message(),
            'model': type(unwrap(runner.model).backbone).__name__,
        }
        text = '\n'.join([json.dumps(head), '', *map(json.dumps, self._epochs)])
        _try(
            runner,
            lambda: write_atomic(Path(runner.work_dir) / LOG, lambda file: file.write(f'{text}\n'.encode()), DataError),
        )


def _read(path: Path) -> list[dict[str, Any]]:
    """The epochs in a log; none where it is not there or is damaged: it is a record for scripts, no part of the run."""
    try:
        return [json.loads(line) for line in path.read_text().split('\n\n', 1)[1].splitlines() if line]
    except (OSError, ValueError, IndexError):
        return []


def _try(runner: Run, write: Any) -> None:
    try:
        write()
    except SelfSupError as error:
        runner.logger.warning(f'{error}')
