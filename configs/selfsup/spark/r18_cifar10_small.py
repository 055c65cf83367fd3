"""SparK (arXiv:2301.03580) on 20,000 images of CIFAR-10: three stages of a ResNet-18, 32 channels wide, in minutes on two CPU cores.

Reproduces: nothing published; shows that SparK learns real images within a small budget. The last two stages have strides 2 and 4.
Command: python tools/train.py configs/selfsup/spark/r18_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores with bf16 instructions, 9.2 minutes, with the kNN evaluations and pictures before and after.
Expected: loss 0.59 (1 without learning); kNN-20 top-1 39.5 after 4 epochs, 35.1 untrained, seed 0 (benchmarks/results/small/spark.json).
"""

_base_ = '../../_base_/cifar10_masked.py'

model = dict(
    type='SparK',
    backbone=dict(type='ResNet', depth=18, base_channels=32, stem='cifar', out_indices=(2, 3)),
    neck=dict(type='SparKNeck', norm='bn', levels=2),
    decoder=dict(type='LightDecoder', width=128),
)
total_epochs = 4
