"""FCMAE (arXiv:2301.00808) on 20,000 images of CIFAR-10: a small ConvNeXt V2 of stride 8, in minutes on two CPU cores.

Reproduces: nothing published; shows that FCMAE learns real images within a small budget.
Command: python tools/train.py configs/selfsup/fcmae/convnextv2_cifar10_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores, 9.8 minutes, with the kNN evaluations (3.3 minutes) and pictures before and after.
Expected: loss 0.55 (1 without learning); kNN-20 top-1 34.1 after 5 epochs, 28.8 untrained, seed 0 (benchmarks/results/small/fcmae.json).
"""

_base_ = '../../_base_/cifar10_masked.py'

model = dict(
    type='FCMAE',
    backbone=dict(type='TIMMBackbone', model_name='convnextv2_atto', depths=(1, 1, 2, 1), dims=(32, 64, 128, 256), patch_size=1),
    decoder=dict(type='ConvNeXtV2Decoder', width=128),
)
use_fp16 = False  # as fast here, on CPUs with bf16 instructions
total_epochs = 5
