"""Supervised ResNet-50 (arXiv:1512.03385) on ImageNet, 90 epochs, global batch 256.

Reproduces: no result of OpenSelfSup (its zoo takes torchvision's weights, 76.1 top-1).
Command: bash tools/dist_train.sh configs/classification/imagenet/r50.py 8
Hardware and time: 8 GPUs (lr is for 8 x 32 images); not run here.
Expected: not run here.
"""

_base_ = ['../../_base_/imagenet_labelled.py', '../../_base_/default_runtime.py']

model = dict(
    type='Classification',
    backbone=dict(type='ResNet', depth=50, out_indices=[4], norm_cfg=dict(type='SyncBN')),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=2048, num_classes=1000),
)
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
lr_config = dict(policy='step', step=[30, 60, 90])  # as published; the last step lies after the last epoch
custom_hooks = [dict(interval=10, **_base_.validation)]
total_epochs = 90
