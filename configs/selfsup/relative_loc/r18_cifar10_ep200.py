"""Relative patch location (arXiv:1505.05192) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing published.
Command: python tools/train.py configs/selfsup/relative_loc/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='RelativeLoc',
    shared_centre=True,
    neck=dict(type='RelativeLocNeck', in_channels=_base_.channels, out_channels=512),
    head=dict(type='ClsHead', in_channels=512, num_classes=8),
)
data = dict(
    train=dict(
        type='RelativeLocDataset',
        pipeline=[dict(type='Resize', size=(50, 50)), dict(type='RandomCrop', size=48)],
        format_pipeline=_base_.to_tensor,
        patch_jitter=4),  # cells of 16 pixels, patches of 12
)
prefetch = False  # patches are cut by the workers
# kNN sees images as large as those that patches are cut from, which fit the statistics of the batch norms
enlarged = [dict(type='Resize', size=(48, 48)), *_base_.to_tensor]
custom_hooks = [dict(_base_.knn, train=dict(_base_.knn['train'], pipeline=enlarged), test=dict(_base_.knn['test'], pipeline=enlarged))]
