"""SimCLR (arXiv:2002.05709) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 84.7; temperature 0.5 as its loss has
  by default.
Command: python tools/train.py configs/selfsup/simclr/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='SimCLR',
    neck=dict(type='NonLinearNeckSimCLR', in_channels=_base_.channels, hid_channels=512, out_channels=128, sync_bn=False),
    head=dict(type='ContrastiveHead', temperature=0.5),
)
