"""Rotation prediction (arXiv:1803.07728) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/rotation_pred/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/rotation_pred.json
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='RotationPred',
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=_base_.channels, num_classes=4),
)
data = dict(
    imgs_per_gpu=128,
    train=dict(type='RotationPredDataset', pipeline=[
        dict(type='RandomResizedCrop', size=32, scale=(0.5, 1.0)), dict(type='RandomHorizontalFlip'), *_base_.to_tensor]),
)
total_epochs = 2
