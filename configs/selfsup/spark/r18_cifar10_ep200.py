"""SparK (arXiv:2301.03580) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: nothing: nobody has published SparK on CIFAR-10.
Command: python tools/train.py configs/selfsup/spark/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_masked.py'

model = dict(
    type='SparK',
    backbone=dict(out_indices=(2, 3, 4)),  # strides 2, 4 and 8
    neck=dict(type='SparKNeck', norm='bn', levels=3),
    decoder=dict(type='LightDecoder', width=256),
)
