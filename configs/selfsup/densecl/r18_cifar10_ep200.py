"""DenseCL (arXiv:2011.09157) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing published; queue, momentum and temperature of MoCo v2 beside it, maps of 4 x 4.
Command: python tools/train.py configs/selfsup/densecl/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='DenseCL',
    neck=dict(type='DenseCLNeck', in_channels=_base_.channels, hid_channels=512, out_channels=128, num_grid=None),
    head=dict(type='ContrastiveHead', temperature=0.1),
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
)
