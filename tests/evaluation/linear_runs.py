"""A tiny linear-classification config on 160 images of digits."""

from __future__ import annotations

from pathlib import Path

HEADS = {
    'last': "dict(type='ClsHead', with_avg_pool=True, in_channels=32, num_classes=10)",
    'multi': "dict(type='MultiClsHead', in_indices=(0, 1), backbone='resnet18', num_classes=10, norm_cfg=dict(type='BN', affine=False))",
}
BACKBONES = {
    'last': "dict(type='ResNet', depth=18, stage_blocks=(1, 1, 1, 1), base_channels=4, stem='cifar', out_indices=(4,), frozen_stages=4)",
    'multi': "dict(type='ResNet', depth=18, stage_blocks=(1,), num_stages=1, stem='cifar', out_indices=(0, 1), frozen_stages=1)",
}
CONFIG = """
model = dict(type='Classification', backbone={backbone}, head={head})
pipeline = [dict(type='ToTensor'), dict(type='Normalize', mean=[0.3] * 3, std=[0.35] * 3)]
data = dict(
    imgs_per_gpu=32, workers_per_gpu=0,
    train=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root={train!r}), pipeline={augment} + pipeline),
    val=dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root={test!r}), pipeline=pipeline))
optimizer = dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=1e-3)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=0.)
custom_hooks = [dict(type='ValidateHook', dataset=data['val'], imgs_per_gpu=64, eval_param=dict(topk=(1, 5)))]
total_epochs = 2
"""


def write_digits(folder: Path, first: int, count: int, leave_out: int | None = None) -> Path:
    """Class folders with digits `first` to `first + count` as PNGs of 8 pixels, perhaps without one class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i in range(first, first + count):
        label = int(digits.target[i])
        if label != leave_out:
            path = folder / str(label) / f'{i:04d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[i] * 15.9).astype('uint8')).convert('RGB').save(path)
    return folder


def write_config(folder: Path, kind: str = 'last', augment: str = '[]', leave_out: int | None = None) -> Path:
    """A config over digits beside it. `kind`: see `HEADS`; `augment`: steps in front of the training pipeline."""
    train, test = folder / 'train', folder / 'test'
    if not train.exists():
        write_digits(train, 0, 100, leave_out)
        write_digits(test, 100, 60)
    path = folder / f'{kind}.py'
    path.write_text(
        CONFIG.format(backbone=BACKBONES[kind], head=HEADS[kind], train=str(train), test=str(test), augment=augment)
    )
    return path
