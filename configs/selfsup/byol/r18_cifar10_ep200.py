"""BYOL (arXiv:2006.07733) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 86.9; asymmetric views of solo-learn
  (92.6 linear after 1000 epochs with LARS).
Command: python tools/train.py configs/selfsup/byol/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_asymmetric.py'

model = dict(
    type='BYOL',
    base_momentum=0.99,
    neck=dict(type='NonLinearNeckV2', in_channels=_base_.channels, hid_channels=1024, out_channels=256),
    head=dict(
        type='LatentPredictHead',
        predictor=dict(type='NonLinearNeckV2', in_channels=256, hid_channels=1024, out_channels=256, with_avg_pool=False)),
)
custom_hooks = [dict(type='BYOLHook'), _base_.knn]
