"""Distillation of DINOv2 ViT-S/14 with registers (arXiv:2304.07193) into a ResNet-18 on CIFAR-10 without labels, 200 epochs.

Reproduces: nothing published; losses of AM-RADIO (arXiv:2312.06709), optimizer and epochs of the other CIFAR-10 runs.
Command: python tools/train.py configs/selfsup/distill/r18_cifar10_ep200.py (images in data/cifar/cifar-10-batches-py/; timm downloads the
    teacher, or its `file` is named)
Hardware and time: 1 GPU, on which images and views stay; not run here.
Expected: not run here.
"""

_base_ = '../../_base_/cifar10_ep200.py'

model = dict(
    type='Distill',
    # images of 32 pixels are enlarged for the teacher, to a map of 16 x 16
    teachers=[dict(type='TIMMTeacher', model_name='vit_small_patch14_reg4_dinov2.lvd142m', size=224, projection='mlp')],
    img_norm_cfg=_base_.img_norm_cfg,
)
data = dict(train=dict(type='ExtractDataset', pipeline=[
    dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)), dict(type='RandomHorizontalFlip'), *_base_.to_tensor]))
