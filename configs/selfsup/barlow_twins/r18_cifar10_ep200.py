"""Barlow Twins (arXiv:2103.03230) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 84.2; projector 2048 and asymmetric
  views of solo-learn (92.1 linear
  after 1000 epochs with LARS).
Command: python tools/train.py configs/selfsup/barlow_twins/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_asymmetric.py'

model = dict(
    type='BarlowTwins',
    neck=dict(type='MLPNeck', in_channels=_base_.channels, hid_channels=2048, out_channels=2048, num_layers=3, last_bias=False),
)
optimizer = dict(lr=0.006)  # the loss is a sum over 2048 numbers: a tenth, as solo-learn's factor 0.1 on the loss
lr_config = dict(_delete_=True, policy='CosineAnnealing', by_epoch=False, min_lr=0, warmup='linear', warmup_iters=10, warmup_by_epoch=True,
                 warmup_ratio=0.01)
