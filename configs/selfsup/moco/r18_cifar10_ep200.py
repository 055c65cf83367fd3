"""MoCo v2 (arXiv:2003.04297) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 83.8; queue and momentum as usual on
  CIFAR.
Command: python tools/train.py configs/selfsup/moco/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='MOCO',
    queue_len=4096,
    feat_dim=128,
    momentum=0.99,
    neck=dict(type='NonLinearNeckV1', in_channels=_base_.channels, hid_channels=512, out_channels=128),
    head=dict(type='ContrastiveHead', temperature=0.1),
)
