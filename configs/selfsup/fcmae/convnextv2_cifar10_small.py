"""FCMAE (arXiv:2301.00808) on 20,000 images of CIFAR-10: a small ConvNeXt V2 of stride 8, in minutes on two CPU cores.

Reproduces: nothing published; shows that FCMAE learns real images within a small budget.
Command: python tools/train.py configs/selfsup/fcmae/convnextv2_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: not measured yet.
Expected: loss below 1, kNN-20 above that of the untrained network.
"""

_base_ = '../../_base_/cifar10_masked.py'

model = dict(
    type='FCMAE',
    backbone=dict(type='TIMMBackbone', model_name='convnextv2_atto', depths=(1, 1, 2, 1), dims=(32, 64, 128, 256), patch_size=1),
    decoder=dict(type='ConvNeXtV2Decoder', width=128),
)
use_fp16 = False  # as fast here, on CPUs with bf16 instructions
total_epochs = 5
