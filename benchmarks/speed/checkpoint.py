"""What a checkpoint of about 400 MB costs: MoCo v2, ResNet-50, momentum encoder, a queue of 65,536 keys, SGD with momentum.

A training of small images saves in turns while it goes on (a copy, then a thread writes) and at once. Told are how long training stands
still for each, how long writing takes, and what iterations take while the thread writes. A second part writes 200 MB with `torch.save` into
an open file and to a path, while another thread ticks: the longest time between two ticks is how long Python's lock was held.

    python benchmarks/speed/checkpoint.py --out benchmarks/results/speed/checkpoint.json

Under three minutes. Exit status 1 where training stands still for 20 % or more of what the writing of the file takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

TARGET = 0.2
CONFIG = """
model = dict(type='MOCO', queue_len=65536, feat_dim=128, momentum=0.999,
             backbone=dict(type='ResNet', depth=50, out_indices=[4]),
             neck=dict(type='NonLinearNeckV1', in_channels=2048, hid_channels=2048, out_channels=128, with_avg_pool=True),
             head=dict(type='ContrastiveHead', temperature=0.2))
pipeline = [dict(type='Resize', size=(32, 32)), dict(type='ToTensor')]
data = dict(imgs_per_gpu={batch}, workers_per_gpu=0, drop_last=True,
            train=dict(type='ContrastiveDataset', data_source=dict(type='Digits'), pipeline=pipeline))
optimizer = dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=1e-4)
log_config = dict(interval=1000, hooks=[dict(type='TextLoggerHook')])
checkpoint_config = dict(interval=10**6, by_epoch=False, save_last=False)
default_hooks = dict(collapse=None)
custom_hooks = [dict(type='Turns', rounds={rounds})]
total_iters = 10**6
"""


def turns_hook() -> type:
    """A hook that saves in turns, and ends the training after so many rounds."""
    from mmengine.hooks import Hook

    from selfsup.registry import HOOKS

    @HOOKS.register_module(force=True)
    class Turns(Hook):
        """Each round: three iterations, a save in the background with iterations until it is written, a save at once."""

        priority = 'LOWEST'

        def __init__(self, rounds: int) -> None:
            self.rounds, self.round, self.quiet = rounds, 0, 0
            self.seconds: dict[str, list[float]] = {
                name: [] for name in ('stall', 'at_once', 'writing', 'iteration', 'iteration_while_writing')
            }
            self.size = 0
            self.writing = False
            Turns.latest = self

        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            self.began, self.overlaps = time.perf_counter(), self.writing

        def after_save_checkpoint(self, runner, path, iteration) -> None:
            if self.writing:
                self.seconds['writing'].append(runner.checkpoints.took - self.stall)
            self.writing, self.size = False, path.stat().st_size

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            took = time.perf_counter() - self.began
            runner.checkpoints.collect()
            if runner.iter == 0:  # the first iteration of a process takes longer
                return
            if self.overlaps and self.writing:  # from its begin to its end
                self.seconds['iteration_while_writing'].append(took)
            elif not self.overlaps:
                self.seconds['iteration'].append(took)
                self.quiet += 1
            if self.writing or self.quiet < 3:
                return
            self.quiet = 0
            if len(self.seconds['stall']) == len(self.seconds['at_once']):
                self.writing = True
                self.stall = self._save(runner, wait=False)
                self.seconds['stall'].append(self.stall)
                return
            self.seconds['at_once'].append(self._save(runner, wait=True))
            self.round += 1
            runner.train_loop.stop_training = self.round > self.rounds

        def _save(self, runner, wait: bool) -> float:
            start = time.perf_counter()
            done = runner.iter + 1
            runner.save_checkpoint(f'iter_{done}.pth', epoch=runner.epoch, iteration=done, keep=1, wait=wait)
            return time.perf_counter() - start

    return Turns


def measure(folder: Path, rounds: int, batch: int, threads: int) -> dict:
    """The training; the first round, which takes new memory and reads its file back, counts apart."""
    import torch

    from selfsup import engine
    from selfsup.config import compile_config, load

    torch.set_num_threads(threads)
    turns = turns_hook()
    path = folder / 'config.py'
    path.write_text(CONFIG.format(batch=batch, rounds=rounds))
    loaded = load(str(path))
    engine.train({**compile_config(loaded), 'work_dir': str(folder / 'work')}, loaded)
    found = turns.latest
    shown = {'bytes': found.size, 'first_stall': round(found.seconds['stall'][0], 3)}
    for name, taken in found.seconds.items():
        each = taken if name.startswith('iteration') else taken[1:]
        shown[name] = {
            'median': round(statistics.median(each), 3) if each else None,
            'smallest': round(min(each), 3) if each else None,
            'largest': round(max(each), 3) if each else None,
            'number': len(each),
        }
    return shown


def longest_pause(folder: Path, megabytes: int, to_path: bool) -> float:
    """Longest time in milliseconds that a ticking thread was kept waiting while tensors were written."""
    import torch

    content = {f'{i}': torch.randn(1 << 18) for i in range(megabytes)}
    path, end, pauses = folder / 'pause.pth', threading.Event(), [0.0]

    def tick() -> None:
        last = time.perf_counter()
        while not end.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    if to_path:
        torch.save(content, path)
    else:
        with open(path, 'wb') as file:
            torch.save(content, file)
    end.set()
    thread.join()
    path.unlink()
    return 1000 * max(pauses)


def main() -> int:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--rounds', type=int, default=7, help='how often each way takes its turn')
    parser.add_argument('--batch', type=int, default=4, help='images of an iteration')
    parser.add_argument('--threads', type=int, default=1, help="torch's threads, for copies and iterations")
    parser.add_argument('--folder', help='where files are written; None: the temporary folder')
    parser.add_argument('--out', help='JSON file for the result')
    args = parser.parse_args()
    import torch

    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        training = measure(folder, args.rounds, args.batch, args.threads)
        pauses = {
            way: round(statistics.median(longest_pause(folder, 200, to_path) for _ in range(5)), 1)
            for way, to_path in (('into_an_open_file', False), ('to_a_path', True))
        }
    share = training['stall']['median'] / training['at_once']['median']
    result = {
        'what': 'MoCo v2 ResNet-50 with its queue and SGD momentum: seconds of a save in the background and at once',
        'cpus': os.cpu_count(),
        'threads': args.threads,
        'load_average': round(os.getloadavg()[0], 1),
        'torch': torch.__version__,
        **training,
        'stall_of_at_once': round(share, 3),
        'stall_of_writing': round(training['stall']['median'] / training['writing']['median'], 3),
        'longest_pause_ms': pauses,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        Path(args.out).write_text(text + '\n')
    return int(share >= TARGET)


if __name__ == '__main__':
    raise SystemExit(main())
