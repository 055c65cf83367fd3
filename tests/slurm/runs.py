"""A tiny training for all cases, and what must be equal between one that was interrupted and one that was not."""

from __future__ import annotations

import json
from pathlib import Path

from tests.resume import runs

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, ITERATIONS = 3, 18  # of two processes with two images each
CONFIG = """
data['imgs_per_gpu'] = 2
log_config = dict(interval=1)
log_processor = dict(window_size=1)
custom_imports = dict(imports=['tests.slurm.pause'])
custom_hooks = [dict(type='Pause', seconds=0.0)]
"""
PAUSE = 'custom_hooks.0.seconds'


def write_config(folder: Path) -> Path:
    """MoCo on 24 digits, six iterations per epoch; `PAUSE` makes it slow."""
    path = runs.write_config(folder)
    path.write_text(path.read_text() + CONFIG)
    return path


def losses(work_dir: Path) -> list[tuple[int, float]]:
    """Number and loss of every iteration that the starts of a run logged, in the order of the starts."""
    found = []
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines = map(json.loads, log.read_text().splitlines())
        found += [(line['step'], line['loss']) for line in lines if 'loss' in line]
    return found


def check_equal(run: Path, straight: Path) -> None:
    """A run, however often it was interrupted, is the straight one: each iteration once, its loss, the last checkpoint, bit by bit."""
    assert losses(straight) and [number for number, _ in losses(straight)] == list(range(1, ITERATIONS + 1))
    assert losses(run) == losses(straight), f'{losses(run)}\nnot\n{losses(straight)}'
    name = f'epoch_{EPOCHS}.pth'
    assert runs.differences(straight / name, run / name) == []
