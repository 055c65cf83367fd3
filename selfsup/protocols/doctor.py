"""Look at this machine and, with a config, at its data and speed: python tools/doctor.py [CFG]

Says which of the two is the bottleneck of training: the pipeline that makes the batches or the model that takes them. A few images are
read; with --all every one that the config names, with the path and the reason of each that is broken. Exit status 1 if any is.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import cli
from ..errors import UsageError
from .options import Declared, option

TYPE_CHECKING = False  # see options.py
if TYPE_CHECKING:
    from . import base


class Options(Declared):
    """See the `help` of each field."""

    config: str | None = option(None, 'config', nargs='?', help='config file')
    all: bool = option(False, help='read every image that the config names, and list the broken ones')
    seconds: float = option(5.0, type=float, help='length of each of the two measurements')
    cfg_options: Sequence[str] = option((), add=cli.add_cfg_options)

    def validate(self) -> None:
        if self.all and not self.config:
            raise UsageError('--all needs a config, which names the images')


def run(asked: Options) -> base.Outcome:
    """Print what there is to say as it is found.

    Raises:
        SelfSupError: what the user can mend; an image that cannot be read.
    """
    from ..engine.environment import collect_environment
    from . import base

    for name, value in collect_environment().items():
        print(f'{name:14s} {value}')
    if asked.config:
        check(asked.config, asked)
    return base.Outcome()


def check(path: str, asked: Options) -> None:
    """Data, pipeline and model of a config."""
    import torch

    from ..config import compile_config, load
    from ..datasets.digest import files_left_out
    from ..datasets.loaders import build_loader, first_image, images_in, shapes_of
    from ..engine.launch import init_distributed
    from ..errors import DataError
    from ..evaluation.analysis.throughput import advice, loader_speed, step_speed
    from ..evaluation.readable import met_broken, read_everything, unreadable
    from ..registry import MODELS

    compiled = compile_config(load(path, list(asked.cfg_options)))
    if asked.all:
        read_everything(compiled, lambda line: print(line, flush=True))
    device = init_distributed('none')
    loading = compiled['train_dataloader']
    loader = build_loader(loading, seed=0, device=device, rank=0, world_size=1)
    tried, problems = unreadable(loader.dataset)
    pipeline, batch = loader_speed(loader, asked.seconds) if not problems else (0.0, None)
    loader.close()
    problems += [name for name in met_broken(loader.dataset) if not any(name in problem for problem in problems)]
    print(
        f'\ndata: {len(loader.dataset):,} samples; read {len(tried)} of them ({", ".join(map(str, tried))}) and those of the batches: '
        + (f'{len(problems)} broken' if problems else 'all good'),
        '' if asked.all else '(--all reads every image)',
        *(f'\nleft out: {left}' for left in files_left_out(loader.dataset)),
    )
    if problems:
        raise DataError(f'{len(problems)} samples cannot be read: ' + '; '.join(problems))
    if batch is None:
        raise DataError('The loader gives no batch: there are fewer samples than one batch holds and drop_last=True.')
    print(f'pipeline: {pipeline:,.1f} images/s with {loading["num_workers"]} workers')
    model = MODELS.build(compiled['model']).to(device).train()
    img = batch['img']
    batch['img'] = [torch.randn_like(image) for image in img] if isinstance(img, list) else torch.randn_like(img)
    amp = (wrapper := compiled['optim_wrapper'])['type'] == 'AmpOptimWrapper'
    kind = getattr(torch, wrapper.get('dtype') or ('float16' if device.type == 'cuda' else 'bfloat16'))

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=amp):
            total = model(batch, mode='loss').total
        total.backward()
        model.zero_grad(set_to_none=True)

    speed = step_speed(step, images_in(batch), asked.seconds)
    print(
        f'model: {speed:,.1f} images/s forward and backward, batch {images_in(batch)} of {shapes_of(first_image(batch))}, {device}'
        + (', mixed precision' if amp else '')
    )
    print(
        advice(
            pipeline,
            speed,
            workers=loading['num_workers'],
            prefetch=loading['prefetch'],
            amp=amp,
            device=device.type,
        )
    )
