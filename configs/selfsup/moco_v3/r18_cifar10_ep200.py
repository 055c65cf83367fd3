"""MoCo v3 (arXiv:2104.02057) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: solo-learn's projector, temperature and views (93.1 linear after 1000 epochs with LARS), lightly's optimizer
  and epochs.
Command: python tools/train.py configs/selfsup/moco_v3/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_asymmetric.py'

model = dict(
    type='MoCoV3',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=4096, out_channels=256, last_norm='BN-', last_bias=False),
    predictor=dict(type='MLPNeck', in_channels=256, hid_channels=4096, out_channels=256, last_bias=False, with_avg_pool=False),
    temperature=0.2,
    base_momentum=0.99,
)
