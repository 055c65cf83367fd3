"""SparK (arXiv:2301.03580) on 20,000 images of CIFAR-10: ResNet-18 blocks, four stages, 32 channels wide, in minutes on two CPU cores.

Reproduces: nothing published; shows that SparK learns real images within a small budget. The last stages have strides 2, 4 and 8.
Command: python tools/train.py configs/selfsup/spark/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: not measured yet.
Expected: loss below 1, kNN-20 above that of the untrained network.
"""

_base_ = '../../_base_/cifar10_masked.py'

model = dict(
    type='SparK',
    backbone=dict(type='ResNet', depth=18, base_channels=32, stem='cifar', out_indices=(2, 3, 4)),
    neck=dict(type='SparKNeck', norm='bn', levels=3),
    decoder=dict(type='LightDecoder', width=128),
)
total_epochs = 5
