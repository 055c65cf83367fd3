"""Speed and memory of tools/train.py against a hand-written loop of plain torch, MoCo v2 ResNet-50 at 224 pixels.

Both sides train the same model on the same images with the same views, batch and optimizer. `tools/train.py` runs a real
config; the plain side is `plain_loop` below: a DataLoader, forward, backward, SGD, momentum update, queue. The two run
alternately, each in a process of its own; what is compared is, of each side, the median over its runs of the median seconds
per step and of the peak memory.

    python benchmarks/speed/moco_step.py --out benchmarks/results/speed/moco_step.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WARMUP = 2  # first steps of a run, not counted

CONFIG = '''"""Written by benchmarks/speed/moco_step.py."""
_base_ = {base!r}
source = dict(_delete_=True, type='ImageFolder', root={images!r})
data = dict(imgs_per_gpu={batch}, workers_per_gpu={workers}, train=dict(data_source=source))
checkpoint_config = dict(interval=1000000, save_last=False)
log_config = dict(interval=1)
log_processor = dict(window_size=1)
total_epochs = None
total_iters = {steps}
'''


def write_images(folder: Path, count: int) -> None:
    """Photo-sized JPEGs (500 x 375) of smooth noise; decoding and resizing cost what a photo costs."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        small = draw.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(small).resize((500, 375), Image.BICUBIC), dtype=np.int16)
        image = np.clip(image + draw.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f'{i:05d}.jpg', quality=90)


def plain_loop(config: str, steps: int) -> None:
    """The loop a careful researcher would write for this one model; prints seconds per step."""
    import torch
    from torch.utils.data import DataLoader

    from selfsup.config import compile_config, load
    from selfsup.registry import DATASETS, MODELS

    compiled = compile_config(load(config))
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.manual_seed(0)
    model = MODELS.build(compiled['model']).to(device).train()
    loader_cfg = compiled['train_dataloader']
    dataset = DATASETS.build(loader_cfg['dataset'])
    loader = DataLoader(
        dataset,
        loader_cfg['batch_size'],
        shuffle=True,
        num_workers=loader_cfg['num_workers'],
        drop_last=True,
        pin_memory=device.type == 'cuda',
    )
    optimizer_cfg = dict(compiled['optim_wrapper']['optimizer'])
    optimizer = getattr(torch.optim, optimizer_cfg.pop('type'))(
        [p for p in model.parameters() if p.requires_grad], **optimizer_cfg
    )
    times = []
    batches = iter(loader)
    for _ in range(steps):
        start = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        step = model.loss(batch['img'].to(device, non_blocking=True))
        optimizer.zero_grad()
        step.total.backward()
        optimizer.step()
        model.after_update([step.carry], 0.0)
        step.total.item()
        times.append(time.perf_counter() - start)
    print(json.dumps({'seconds': times}))


def measure(command: list[str], log: Path) -> float:
    """Run `command`, its output into `log`; return the peak resident memory of its largest process in MiB."""
    with log.open('w') as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, 'PYTHONUNBUFFERED': '1'}
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f'{command} failed:\n{log.read_text()[-3000:]}')
    return usage.ru_maxrss / 1024


def run_plain(config: Path, steps: int, folder: Path) -> dict:
    log = folder / 'plain.log'
    memory = measure([sys.executable, __file__, '--plain', str(config), '--steps', str(steps)], log)
    seconds = json.loads(log.read_text().strip().splitlines()[-1])['seconds']
    return {'seconds_per_step': statistics.median(seconds[WARMUP:]), 'peak_mib': memory}


def run_tool(config: Path, folder: Path) -> dict:
    work_dir = Path(tempfile.mkdtemp(dir=folder))
    memory = measure(
        [sys.executable, str(ROOT / 'tools' / 'train.py'), str(config), '--work_dir', str(work_dir)],
        folder / 'tool.log',
    )
    lines = [
        json.loads(x)
        for f in work_dir.glob('*/vis_data/*.json')
        if f.name != 'config.py'
        for x in f.read_text().splitlines()
    ]
    seconds = [x['time'] for x in lines if 'time' in x]
    return {'seconds_per_step': statistics.median(seconds[WARMUP:]), 'peak_mib': memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=32, help='images per step')
    parser.add_argument('--steps', type=int, default=8, help=f'steps per run; the first {WARMUP} are not counted')
    parser.add_argument('--repeats', type=int, default=3, help='runs of each side, alternating')
    parser.add_argument('--workers', type=int, default=0, help='loader workers')
    parser.add_argument('--out', default='benchmarks/results/speed/moco_step.json')
    parser.add_argument('--plain', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        plain_loop(args.plain, args.steps)
        return
    import torch

    runs: dict[str, list[dict]] = {'tool': [], 'plain': []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / 'images', args.batch * 4)
        config = folder / 'moco_step.py'
        config.write_text(
            CONFIG.format(
                base=str(ROOT / 'configs/selfsup/moco/r50_v2.py'),
                batch=args.batch,
                workers=args.workers,
                images=str(folder / 'images'),
                steps=args.steps,
            )
        )
        for _ in range(args.repeats):
            runs['tool'].append(run_tool(config, folder))
            runs['plain'].append(run_plain(config, args.steps, folder))
            print({side: results[-1] for side, results in runs.items()}, flush=True)
    median = {side: {k: statistics.median(r[k] for r in results) for k in results[0]} for side, results in runs.items()}
    report = {
        'what': 'MoCo v2 ResNet-50, 224 px: tools/train.py against a plain torch loop',
        'batch': args.batch,
        'workers': args.workers,
        'threads': torch.get_num_threads(),
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        'torch': torch.__version__,
        'runs': runs,
        'median': median,
        'speed_ratio': median['plain']['seconds_per_step'] / median['tool']['seconds_per_step'],
        'memory_ratio': median['tool']['peak_mib'] / median['plain']['peak_mib'],
    }
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + '\n')
    print(
        f'steps/s of tools/train.py relative to the plain loop: {report["speed_ratio"]:.3f}; peak memory: {report["memory_ratio"]:.3f}'
    )


if __name__ == '__main__':
    main()
