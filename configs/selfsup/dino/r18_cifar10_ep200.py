"""DINO (arXiv:2104.14294) on CIFAR-10, ResNet-18 with the CIFAR stem, 200 epochs.

Reproduces: the setting of lightly's CIFAR-10 benchmark (batch 128, 200 epochs), whose kNN-200 is 84.0; a head of 2 layers with batch
  norm, 2048 outputs, momentum 0.99;
  asymmetric views of solo-learn.
Command: python tools/train.py configs/selfsup/dino/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_asymmetric.py'

model = dict(
    type='DINO',
    neck=dict(
        type='DINONeck', in_channels=_base_.channels, hid_channels=2048, bottleneck_channels=256, out_channels=2048, num_layers=2,
        norm='BN'),
    base_momentum=0.99,
)
optimizer_config = dict(
    grad_clip=dict(max_norm=3.0, per_tensor=True), freeze=[dict(parameters=r'^neck\.last_layer\.', epochs=1)])
