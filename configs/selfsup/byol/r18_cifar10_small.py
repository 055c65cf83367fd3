"""BYOL (arXiv:2006.07733) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/byol/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/byol.json
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='BYOL',
    base_momentum=0.99,
    neck=dict(type='NonLinearNeckV2', in_channels=_base_.channels, hid_channels=256, out_channels=128),
    head=dict(
        type='LatentPredictHead',
        predictor=dict(type='NonLinearNeckV2', in_channels=128, hid_channels=256, out_channels=128, with_avg_pool=False)),
)
custom_hooks = [dict(type='BYOLHook'), _base_.knn]
total_epochs = 4
