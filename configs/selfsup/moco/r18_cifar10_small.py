"""MoCo v2 (arXiv:2003.04297) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/moco/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/moco_v2.json
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='MOCO',
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
    neck=dict(type='NonLinearNeckV1', in_channels=_base_.channels, hid_channels=256, out_channels=128),
    head=dict(type='ContrastiveHead', temperature=0.1),
)
total_epochs = 6
