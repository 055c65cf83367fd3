"""DenseCL (arXiv:2011.09157) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/densecl/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: kNN-20 top-1 44.9, linear probe 50.1 after 5 minutes, 35.6 and 35.4 untrained, seed 0 (docs/benchmarks/small_comparison.md)
"""

_base_ = '../../_base_/cifar10_small.py'

model = dict(
    type='DenseCL',
    neck=dict(type='DenseCLNeck', in_channels=_base_.channels, hid_channels=256, out_channels=128, num_grid=4),  # of maps of 8 x 8
    head=dict(type='ContrastiveHead', temperature=0.1),
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
)
total_epochs = 4
