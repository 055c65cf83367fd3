"""Tiny real training runs, started in this process or in a fresh one."""

from __future__ import annotations

from pathlib import Path

import torch

CONFIG = '''"""Tiny run for the resume tests: 24 digits, batches of 4, six iterations per epoch."""
model = dict(
    type='{method}',
    backbone=dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,)),
    {parts})
source = dict(type='ImageList', root={root!r}, list_file={root!r} + '/list.txt')
pipeline = [
    dict(type='RandomResizedCrop', size={pixels}, scale=(0.3, 1.0)),
    dict(type='RandomAppliedTrans', transforms=[dict(type='ColorJitter', brightness=0.4)], p=0.8),
    dict(type='RandomAppliedTrans', transforms=[dict(type='GaussianBlur', sigma_min=0.1, sigma_max=1.0)], p=0.5),
    dict(type='RandomHorizontalFlip'),
    dict(type='ToTensor'),
    dict(type='Normalize', mean=[0.5, 0.5, 0.5], std=[0.3, 0.3, 0.3]),
]
data = dict(imgs_per_gpu=4, workers_per_gpu=0, drop_last=True,
            train=dict(type='{dataset}', data_source=source, pipeline=pipeline))
optimizer = dict(type='AdamW', lr=0.01, weight_decay=0.01)
optimizer_config = dict(update_interval=1)
lr_config = dict(policy='CosineAnnealing', min_lr=0.001, warmup='linear', warmup_iters=5, warmup_ratio=0.1)
checkpoint_config = dict(interval=1)
log_config = dict(interval=2)
total_epochs = 3
'''

CONTRAST = "dict(type='ContrastiveHead', temperature=0.2)"
PREDICT = (
    "dict(type='LatentPredictHead', size_average=True, predictor=dict(type='NonLinearNeckV2', "
    'in_channels=8, hid_channels=16, out_channels=8, with_avg_pool=False))'
)
MLP = "type='MLPNeck', hid_channels=16, out_channels=8"
PREDICTED = f'neck=dict({MLP}, in_channels=32), predictor=dict({MLP}, in_channels=8, with_avg_pool=False)'
PIXELS = "head=dict(type='MaskedPixelHead', patch_size=8), block=8"


def _views(neck: str, head: str, extra: str = '') -> dict:
    """Settings of a method that compares two views."""
    return _pairs(
        f"neck=dict(type='{neck}', in_channels=32, hid_channels=16, out_channels=8),\n    head={head},\n    {extra}"
    )


def _pairs(parts: str) -> dict:
    """Settings of a method that reads two views."""
    return {'dataset': 'ContrastiveDataset', 'pixels': 8, 'parts': parts}


def _masked(parts: str) -> dict:
    """Settings of a masked autoencoder: four blocks of 8 pixels, the stride of the backbone."""
    return {'dataset': 'ExtractDataset', 'pixels': 16, 'parts': f'{parts}, {PIXELS}'}


METHODS = {
    'MOCO': _views('NonLinearNeckV1', CONTRAST, 'queue_len=22, feat_dim=8, momentum=0.9'),
    'DenseCL': _views('DenseCLNeck', CONTRAST, 'queue_len=22, feat_dim=8, momentum=0.9, start_iters=8'),
    'MoCoV3': _pairs(f'{PREDICTED}, base_momentum=0.9'),
    'NNCLR': _pairs(f'{PREDICTED}, queue_len=22, feat_dim=8'),
    'SimCLR': _views('NonLinearNeckV1', CONTRAST),
    'BYOL': _views('NonLinearNeckV2', PREDICT, 'base_momentum=0.9'),
    'SparK': _masked("neck=dict(type='SparKNeck', levels=1), decoder=dict(type='LightDecoder', width=32)"),
    'FCMAE': _masked("decoder=dict(type='ConvNeXtV2Decoder', width=16)"),
}


def write_images(folder: Path, count: int = 24, size: int = 16) -> Path:
    """`count` JPEGs of `size` pixels and list.txt."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for i, image in enumerate(load_digits().images[:count]):
        names.append(f'{i:03d}.jpg')
        Image.fromarray((image * 15.9).astype('uint8')).resize((size, size)).convert('RGB').save(folder / names[-1])
    (folder / 'list.txt').write_text('\n'.join(names) + '\n')
    return folder


def write_config(folder: Path, method: str = 'MOCO') -> Path:
    """A config for `method` over images beside it."""
    images = write_images(folder / 'images')
    path = folder / f'{method.lower()}.py'
    path.write_text(CONFIG.format(method=method, root=str(images), **METHODS[method]))
    return path


def train(
    config: Path | str,
    work_dir: Path | str,
    *options: str,
    stop_after: int | None = None,
    launcher: str = 'none',
    curves: bool = True,
    **start,
) -> Path:
    """Train in this process and return the work dir.

    Args:
        stop_after: raise KeyboardInterrupt after that many iterations.
        curves: False writes no files of curves; to format the config for them takes longer than a tiny run.
    """
    from selfsup import engine
    from selfsup.config import compile_config, load

    torch.set_num_threads(1)
    loaded = load(str(config), list(options))
    compiled = compile_config(loaded)
    compiled['work_dir'] = str(work_dir)
    compiled['resume_from'] = start.pop('resume_from', None)
    compiled['seed'] = start.pop('seed', None)
    if not curves:
        compiled['visualizer'] = {**compiled['visualizer'], 'vis_backends': []}
    if stop_after is not None:
        compiled['custom_hooks'] = [*compiled.get('custom_hooks', []), {'type': 'StopAt', 'at': stop_after}]
    register_stop_hook()  # also where it is only in the checkpoint: what is not registered may have changed the weights
    try:
        engine.train(compiled, loaded, launcher=launcher, **start)
    except KeyboardInterrupt:
        assert stop_after is not None
    return Path(work_dir)


def register_stop_hook() -> None:
    from mmengine.hooks import Hook

    from selfsup.registry import HOOKS

    class StopAt(Hook):
        priority = 'LOWEST'  # after the checkpoint of the iteration
        only_watches = True  # a resumed run goes on without it

        def __init__(self, at: int) -> None:
            self.at = at

        def after_train_iter(self, runner, **kwargs) -> None:
            if runner.iter + 1 == self.at:
                raise KeyboardInterrupt

    HOOKS.register_module(module=StopAt, force=True)


def register_fixed_negatives() -> None:
    """A hook that makes the negatives of NPID a function of the image: what is drawn at random differs between processes."""
    from mmengine.hooks import Hook

    from selfsup.engine import unwrap
    from selfsup.registry import HOOKS

    class FixedNegatives(Hook):
        def before_train(self, runner) -> None:
            model = unwrap(runner.model)
            model.draw_negatives = lambda idx: (idx[:, None] * 3 + torch.arange(model.neg_num)) % len(model.memory_bank)

    HOOKS.register_module(module=FixedNegatives, force=True)


def differences(one: Path, other: Path) -> list[str]:
    """Names of everything in two checkpoints that is not equal bit for bit (log times and paths apart)."""
    a, b = (torch.load(p, weights_only=True) for p in (one, other))
    for checkpoint in (a, b):
        checkpoint['meta'] = {k: checkpoint['meta'][k] for k in ('epoch', 'iter', 'fingerprint')}
    return list(_compare(a, b, ''))


def _compare(a, b, where: str):
    if type(a) is not type(b):
        yield where
    elif isinstance(a, dict):
        if list(a) != list(b):
            yield f'{where} (keys)'
        for key in a:
            yield from _compare(a[key], b.get(key), f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        if len(a) != len(b):
            yield f'{where} (length)'
        for i, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from _compare(x, y, f'{where}[{i}]')
    elif isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        if not same or a.contiguous().numpy().tobytes() != b.contiguous().numpy().tobytes():
            yield where
    elif a != b:
        yield where
