"""Rotation prediction (arXiv:1803.07728) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: the paper trains a network in network on CIFAR-10.
Command: python tools/train.py configs/selfsup/rotation_pred/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='RotationPred',
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=_base_.channels, num_classes=4),
)
data = dict(train=dict(type='RotationPredDataset', pipeline=[
    dict(type='RandomResizedCrop', size=32, scale=(0.5, 1.0)), dict(type='RandomHorizontalFlip'), *_base_.to_tensor]))
prefetch = dict(_delete_=True, augment_on_device=True)  # images are turned by the workers
