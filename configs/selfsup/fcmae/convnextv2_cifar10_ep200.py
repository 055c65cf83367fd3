"""FCMAE (arXiv:2301.00808) on CIFAR-10, ConvNeXt V2 atto of stride 8, 200 epochs.

Reproduces: nothing: nobody has published FCMAE on CIFAR-10.
Command: python tools/train.py configs/selfsup/fcmae/convnextv2_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200_masked.py'

model = dict(
    type='FCMAE',
    backbone=dict(_delete_=True, type='TIMMBackbone', model_name='convnextv2_atto', patch_size=1),  # 3.4 M parameters, stride 8
    decoder=dict(type='ConvNeXtV2Decoder', width=256),
)
