"""Look at this machine and, with a config, at its data and speed: python tools/doctor.py [CFG]

Says which of the two is the bottleneck of training: the pipeline that makes the batches or the model that takes them. A few images are
read; with --all every one that the config names, with the path and the reason of each that is broken. Exit status 1 if any is.
With --stats it measures mean and standard deviation of every channel instead, as a line for the config.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import cli
from ..errors import UsageError
from .options import Declared, option

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from typing import Any

    from . import base


class Options(Declared):
    """See the `help` of each field."""

    config: str | None = option(None, 'config', nargs='?', help='config file')
    data: str | None = option(None, add=cli.add_data)
    all: bool = option(False, help='read every image that the config names, and list the broken ones')
    stats: bool = option(
        False, help='measure mean and standard deviation of each channel of the training images, and nothing else'
    )
    images: int = option(
        2000, type=cli.positive, help='how many of them, spread over the data set (default: 2000, at most all)'
    )
    seconds: float = option(5.0, type=float, help='length of each of the two measurements')
    cfg_options: Sequence[str] = option((), add=cli.add_cfg_options)

    def validate(self) -> None:
        for name in ('all', 'stats', 'data'):
            if getattr(self, name) and not self.config:
                raise UsageError(f'--{name} needs a config, which names the images')
        if self.all and self.stats:
            raise UsageError('--all reads images to find broken ones, --stats to measure them: ask for one of the two')


def run(asked: Options) -> base.Outcome:
    """Print what there is to say as it is found.

    Raises:
        SelfSupError: what the user can mend; an image that cannot be read.
    """

    from ..engine.environment import collect_environment
    from . import base

    if asked.config and asked.stats:
        measure(asked.config, asked)
        return base.Outcome()
    for name, value in collect_environment().items():
        print(f'{name:14s} {value}')
    if asked.config:
        check(asked.config, asked)
    return base.Outcome()


def measure(path: str, asked: Options) -> None:
    """Mean and standard deviation of the training images of a config."""
    from ..config import compile_config, load
    from ..evaluation.analysis.channel_statistics import channel_statistics, training_sources

    sources = training_sources(compile_config(load(path, list(asked.cfg_options), {('--data', 'train'): asked.data})))
    for line in channel_statistics(sources, asked.images, lambda line: print(line, flush=True)).lines():
        print(line)


def check(path: str, asked: Options) -> None:
    """Data, pipeline and model of a config."""
    from ..config import compile_config, load
    from ..datasets.loaders import build_loader
    from ..engine.processes.launch import init_distributed
    from ..evaluation.analysis.throughput import advice, balance
    from ..evaluation.readable import read_everything
    from ..machine import cores
    from ..prefetch import read_prefetch

    compiled = compile_config(load(path, list(asked.cfg_options), {('--data', 'train'): asked.data}))
    if asked.all:
        read_everything(compiled, lambda line: print(line, flush=True))
    device = init_distributed('none')
    loading = compiled['train_dataloader']
    loader = build_loader(loading, seed=0, device=device, rank=0, world_size=1)
    workers = loader.num_workers
    pipeline, per_worker, batch = look_at_data(loader, asked)
    speed = look_at_model(compiled, batch, device, asked.seconds)
    needed, available = balance(speed, per_worker), cores()
    print(
        f'balance: {needed} worker{"s keep" if needed > 1 else " keeps"} up with the model on this device, and this machine gives '
        f'{available} core{"s" if available > 1 else ""}, which its processes share (data.workers_per_gpu is {workers} now)'
    )
    prefetch = read_prefetch(loading['prefetch'])
    print(
        advice(
            pipeline,
            speed,
            workers=workers,
            prefetch=prefetch.on,
            amp=compiled['optim_wrapper']['type'] == 'AmpOptimWrapper',
            device=device.type,
            augment=prefetch.augment,
            cache=bool(loading.get('cache')),
            backend=loading['pipeline_backend'],
            per_worker=per_worker,
        )
    )


def look_at_data(loader: Any, asked: Options) -> tuple[float, float, dict[str, Any]]:
    """Read samples and batches; images per second of the loader and of one worker, and a batch.

    Raises:
        DataError: samples that cannot be read, or no batch.
    """
    from ..errors import DataError
    from ..evaluation.analysis.throughput import loader_speed, worker_speed
    from ..evaluation.readable import met_broken, unreadable

    tried, problems = unreadable(loader.dataset)
    workers = loader.num_workers
    pipeline, batch = loader_speed(loader, asked.seconds) if not problems else (0.0, None)
    per_worker = worker_speed(loader, asked.seconds / 2) if batch is not None else 0.0
    loader.close()
    problems += [name for name in met_broken(loader.dataset) if not any(name in problem for problem in problems)]
    print(*_about_data(loader.dataset, tried, problems, asked.all))
    if problems:
        raise DataError(f'{len(problems)} samples cannot be read: ' + '; '.join(problems))
    if batch is None:
        raise DataError('The loader gives no batch: there are fewer samples than one batch holds and drop_last=True.')
    print(
        f'pipeline: {pipeline:,.1f} images/s with {workers} workers; one worker makes {per_worker:,.1f} images per second of '
        f'processor time ({1000 / per_worker:,.2f} ms per image)'
    )
    return pipeline, per_worker, batch


def look_at_model(compiled: dict[str, Any], batch: dict[str, Any], device: Any, seconds: float) -> float:
    """Images per second of the model, forward and backward, on noise of the shape of `batch`."""
    import torch

    from ..datasets.loaders import first_image, images_in, shapes_of
    from ..evaluation.analysis.throughput import step_speed
    from ..registry import MODELS

    model = MODELS.build(compiled['model']).to(device).train()
    img = batch['img']
    batch['img'] = [torch.randn_like(image) for image in img] if isinstance(img, list) else torch.randn_like(img)
    wrapper = compiled['optim_wrapper']
    amp = wrapper['type'] == 'AmpOptimWrapper'
    kind = getattr(torch, wrapper.get('dtype') or ('float16' if device.type == 'cuda' else 'bfloat16'))

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=amp):
            total = model(batch, mode='loss').total
        total.backward()
        model.zero_grad(set_to_none=True)

    speed = step_speed(step, images_in(batch), seconds)
    print(
        f'model: {speed:,.1f} images/s forward and backward, batch {images_in(batch)} of {shapes_of(first_image(batch))}, {device}'
        + (', mixed precision' if amp else '')
    )
    return speed


def _about_data(dataset: Any, tried: Sequence[int], problems: Sequence[str], everything: bool) -> list[str]:
    """What was read of the training images, and what could not be."""
    from ..datasets.digest import files_left_out

    return [
        f'\ndata: {len(dataset):,} samples; read {len(tried)} of them ({", ".join(map(str, tried))}) and those of the batches: '
        + (f'{len(problems)} broken' if problems else 'all good'),
        '' if everything else '(--all reads every image)',
        *(f'\nleft out: {line}' for line in files_left_out(dataset)),
    ]
