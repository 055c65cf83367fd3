"""SimCLR (arXiv:2002.05709) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that the method learns real images within a small budget.
Command: python tools/train.py configs/selfsup/simclr/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: benchmarks/results/small/simclr.json
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='SimCLR',
    neck=dict(type='NonLinearNeckSimCLR', in_channels=_base_.channels, hid_channels=256, out_channels=128, sync_bn=False),
    head=dict(type='ContrastiveHead', temperature=0.2),
)
total_epochs = 4
