"""Barlow Twins (arXiv:2103.03230) on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; a small budget on real images.
Command: python tools/train.py configs/selfsup/barlow_twins/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, under 10 minutes; without such instructions drop use_fp16.
Expected: kNN-20 top-1 43.8, linear probe 50.6 after 5 minutes, 35.6 and 35.4 untrained, seed 0 (docs/benchmarks/small_comparison.md)
"""

_base_ = '../../_base_/cifar10_asymmetric.py'

model = dict(
    type='BarlowTwins',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=512, out_channels=512, last_bias=False),
)
data = dict(imgs_per_gpu=128)
total_epochs = 4
