"""MoCo v1 (arXiv:1911.05722, a linear neck) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing published; optimizer and views of its neighbour, MoCo v2.
Command: python tools/train.py configs/selfsup/moco/r18_cifar10_ep200_v1.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='MOCO',
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
    neck=dict(type='LinearNeck', in_channels=_base_.channels, out_channels=128),
    head=dict(type='ContrastiveHead', temperature=0.1),
)
